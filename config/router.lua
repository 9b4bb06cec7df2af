-- Orthanc as a router before several nodes: each study goes to one of them, always the same one, so that late slices
-- and repeats find the series where it is. A node that can't be reached is tried again by the job; see Orthanc's jobs.
-- Name the nodes in DicomModalities (orthanc.json) and here, with the same names.

local NODES = { 'node1', 'node2' }

-- A digest of the Study Instance UID: the same on every router, with no state to lose.
local function nodeOf(studyInstanceUid)
  local sum = 0
  for index = 1, #studyInstanceUid do
    sum = (sum * 31 + string.byte(studyInstanceUid, index)) % 2147483647
  end
  return NODES[sum % #NODES + 1]
end

function OnStableSeries(seriesId, tags, metadata)
  if tags['Modality'] ~= 'CT' then
    return
  end
  local study = ParseJson(RestApiGet('/series/' .. seriesId .. '/study'))['MainDicomTags']
  local node = nodeOf(study['StudyInstanceUID'])
  print('series ' .. seriesId .. ' goes to ' .. node)
  RestApiPost('/modalities/' .. node .. '/store', DumpJson({ Resources = { seriesId }, Synchronous = false }))
end
