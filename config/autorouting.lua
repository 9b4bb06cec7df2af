-- Orthanc sends each new chest CT series to dicomnode; SEG and SR come back by C-STORE into the same study.
-- Used through config/orthanc.json; "dicomnode" is the name of the modality there.

local NODE = 'dicomnode'

local function contains(text, word)
  return text ~= nil and string.find(string.lower(text), word, 1, true) ~= nil
end

local function isChest(study, series)
  local body = series['BodyPartExamined']
  return contains(body, 'chest') or contains(body, 'thorax') or contains(body, 'lung')
    or contains(study['StudyDescription'], 'chest') or contains(study['StudyDescription'], 'thorax')
    or contains(series['SeriesDescription'], 'chest') or contains(series['SeriesDescription'], 'thorax')
    or contains(series['SeriesDescription'], 'lung')
end

function OnStableSeries(seriesId, tags, metadata)
  -- Results of the node have the modalities SEG and SR, so nothing goes in circles.
  if tags['Modality'] ~= 'CT' or metadata['RemoteAET'] == 'DICOMNODE' then
    return
  end
  local study = ParseJson(RestApiGet('/series/' .. seriesId .. '/study'))['MainDicomTags']
  if isChest(study, tags) then
    print('chest CT series ' .. seriesId .. ' goes to ' .. NODE)
    local job = { Resources = { seriesId }, Synchronous = false }
    RestApiPost('/modalities/' .. NODE .. '/store', DumpJson(job))
  end
end
