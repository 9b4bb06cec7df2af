"""Every code of the results in one table (PS3.16 and SNOMED CT; ours where no standard code exists)."""

from __future__ import annotations

from highdicom.coding_schemes import CodingSchemeIdentificationItem
from pydicom.sr.coding import Code

PRIVATE_SCHEME = "99DICOMNODE"


def _private(value: str, meaning: str) -> Code:
    return Code(value, PRIVATE_SCHEME, meaning)


# Segments: category, type, modifier (CID 7150, 7151, 7155, 244, 6102)
ANATOMICAL_STRUCTURE = Code("91723000", "SCT", "Anatomical Structure")
ABNORMAL_STRUCTURE = Code("49755003", "SCT", "Morphologically Abnormal Structure")
LUNG = Code("39607008", "SCT", "Lung")
UPPER_LOBE = Code("45653009", "SCT", "Upper lobe of lung")
MIDDLE_LOBE = Code("72481006", "SCT", "Middle lobe of right lung")
LOWER_LOBE = Code("90572001", "SCT", "Lower lobe of lung")
RIGHT = Code("24028007", "SCT", "Right")
LEFT = Code("7771000", "SCT", "Left")
BILATERAL = Code("51440002", "SCT", "Bilateral")
LESION = Code("52988006", "SCT", "Lesion")
GROUND_GLASS = Code("112120", "DCM", "Ground glass opacity")
CONSOLIDATION = Code("95436008", "SCT", "Lung consolidation")
EFFUSION = Code("60046008", "SCT", "Pleural effusion")
SEGMENTATION_DERIVATION = Code("113076", "DCM", "Segmentation")
SOURCE_IMAGE = Code("121322", "DCM", "Source image for image processing operation")
ARTIFICIAL_INTELLIGENCE = Code("123110", "DCM", "Artificial Intelligence")

# Structured report: document and observation context (TID 1500, 1204, 1001, 4019)
IMAGING_MEASUREMENT_REPORT = Code("126000", "DCM", "Imaging Measurement Report")
IMAGING_MEASUREMENTS = Code("126010", "DCM", "Imaging Measurements")
MEASUREMENT_GROUP = Code("125007", "DCM", "Measurement Group")
QUALITATIVE_EVALUATIONS = Code("C0034375", "UMLS", "Qualitative Evaluations")
LANGUAGE = Code("121049", "DCM", "Language of Content Item and Descendants")
ENGLISH = Code("en-US", "RFC5646", "English (United States)")
OBSERVER_TYPE = Code("121005", "DCM", "Observer Type")
DEVICE = Code("121007", "DCM", "Device")
DEVICE_UID = Code("121012", "DCM", "Device Observer UID")
DEVICE_NAME = Code("121013", "DCM", "Device Observer Name")
DEVICE_MANUFACTURER = Code("121014", "DCM", "Device Observer Manufacturer")
DEVICE_MODEL = Code("121015", "DCM", "Device Observer Model Name")
DEVICE_SERIAL = Code("121016", "DCM", "Device Observer Serial Number")
PROCEDURE_REPORTED = Code("121058", "DCM", "Procedure reported")
CT_UNSPECIFIED = Code("25045-6", "LN", "CT unspecified body region")
ALGORITHM_NAME = Code("111001", "DCM", "Algorithm Name")
ALGORITHM_VERSION = Code("111003", "DCM", "Algorithm Version")
ALGORITHM_PARAMETERS = Code("111002", "DCM", "Algorithm Parameters")
ALGORITHM_FAMILY = Code("111000", "DCM", "Algorithm Family")

# Structured report: measurement groups (TID 1411, 1419)
TRACKING_IDENTIFIER = Code("112039", "DCM", "Tracking Identifier")
TRACKING_UID = Code("112040", "DCM", "Tracking Unique Identifier")
FINDING_CATEGORY = Code("276214006", "SCT", "Finding category")
FINDING = Code("121071", "DCM", "Finding")
FINDING_SITE = Code("363698007", "SCT", "Finding Site")
LATERALITY = Code("272741003", "SCT", "Laterality")
REFERENCED_SEGMENT = Code("121191", "DCM", "Referenced Segment")
SOURCE_SERIES = Code("121232", "DCM", "Source series for segmentation")
SERIES_INSTANCE_UID = Code("112002", "DCM", "Series Instance UID")
PRESENT = Code("52101004", "SCT", "Present")
ABSENT = Code("272519000", "SCT", "Absent")

# Structured report: measured quantities
VOLUME = Code("118565006", "SCT", "Volume")
MASS = Code("118538004", "SCT", "Mass")
ATTENUATION = Code("112031", "DCM", "Attenuation Coefficient")
DERIVATION = Code("121401", "DCM", "Derivation")
MEAN = Code("373098007", "SCT", "Mean")
MILLILITER = Code("mL", "UCUM", "mL")
PERCENT = Code("%", "UCUM", "Percent")
GRAM = Code("g", "UCUM", "g")
HOUNSFIELD_UNIT = Code("[hnsf'U]", "UCUM", "Hounsfield unit")
NO_UNITS = Code("1", "UCUM", "no units")

# No standard code was found for these
LESION_VOLUME = _private("LESION_VOLUME", "Lesion volume (GGO and consolidation)")
GGO_VOLUME = _private("GGO_VOLUME", "Ground glass opacity volume")
CONSOLIDATION_VOLUME = _private("CONSOL_VOLUME", "Consolidation volume")
EFFUSION_VOLUME = _private("EFFUSION_VOLUME", "Effusion volume")
HIGH_OPACITY_VOLUME = _private("HIGH_OPAC_VOLUME", "High opacity volume (consolidation and effusion)")
LESION_EXTENT = _private("LESION_EXTENT", "Lesion extent, share of the region's volume")
GGO_EXTENT = _private("GGO_EXTENT", "Ground glass opacity extent, share of the region's volume")
CONSOLIDATION_EXTENT = _private("CONSOL_EXTENT", "Consolidation extent, share of the region's volume")
LESION_WEIGHT = _private("LESION_WEIGHT", "Lesion weight")
LESION_MEAN_HU = _private("LESION_MEAN_HU", "Mean attenuation of the lesions")
HELLINGER_DISTANCE = _private("HELLINGER_DIST", "Hellinger distance of the HU histogram to normal lung")
HISTOGRAM_IOU = _private("HISTOGRAM_IOU", "Overlap (IoU) of the HU histogram with normal lung")
PRESENCE = _private("PRESENCE", "Presence")
INTENDED_USE = _private("INTENDED_USE", "Intended use")
METHOD = _private("METHOD", "Method")
QUALITY_FLAG = _private("QUALITY_FLAG", "Quality flag")
IMAGE_QUALITY = _private("IMAGE_QUALITY", "Image quality")
SERIES_NOT_MEASURED = _private("NOT_MEASURED", "CT series not measured")
REFUSAL_REASON = _private("REFUSAL_REASON", "Reason")
EXPLANATION = _private("EXPLANATION", "Explanation")
WHAT_TO_DO = _private("WHAT_TO_DO", "What to do")
SOURCE_IMAGES = _private("SOURCE_IMAGES", "Images received")


def private_scheme_identification() -> CodingSchemeIdentificationItem:
    """Item of the Coding Scheme Identification Sequence that names our scheme (PS3.3 C.12.1.1.17)."""
    return CodingSchemeIdentificationItem(
        designator=PRIVATE_SCHEME,
        name="dicomnode measurements of lung opacities",
        version="1",
        responsible_organization="dicomnode",
    )
