"""Every code of the results in one table (PS3.16 and SNOMED CT; ours where no standard code exists)."""

from __future__ import annotations

from pydicom.dataset import Dataset
from pydicom.sr.coding import Code

from dicomnode.segment.segmentation import Region

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
ACQUISITION_EQUIPMENT = Code("109101", "DCM", "Acquisition Equipment")
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
MEDIAN_ATTENUATION = Code("112182", "DCM", "Median Attenuation Coefficient")
SD_ATTENUATION = Code("112183", "DCM", "Standard Deviation of Attenuation Coefficient")
SKEWNESS = Code("126051", "DCM", "Skewness")
KURTOSIS = Code("126052", "DCM", "Kurtosis")
UPPER_UNCERTAINTY = Code("371886008", "SCT", "+, range of upper measurement uncertainty")
LOWER_UNCERTAINTY = Code("371885007", "SCT", "-, range of lower measurement uncertainty")
NUMBER_OF_LESIONS = Code("246206008", "SCT", "Number of lesions")
UNCERTAIN = Code("64957009", "SCT", "Uncertain")

# No standard code was found for these
NORMAL_LUNG_VOLUME = _private("NORMAL_VOLUME", "Volume of normal lung")
LESION_VOLUME = _private("LESION_VOLUME", "Lesion volume (GGO and consolidation)")
GGO_VOLUME = _private("GGO_VOLUME", "Ground glass opacity volume")
CONSOLIDATION_VOLUME = _private("CONSOL_VOLUME", "Consolidation volume")
EFFUSION_VOLUME = _private("EFFUSION_VOLUME", "Effusion volume")
HIGH_OPACITY_VOLUME = _private("HIGH_OPAC_VOLUME", "High opacity volume (consolidation and effusion)")
LESION_EXTENT = _private("LESION_EXTENT", "Lesion extent, share of the region's volume")
GGO_EXTENT = _private("GGO_EXTENT", "Ground glass opacity extent, share of the region's volume")
CONSOLIDATION_EXTENT = _private("CONSOL_EXTENT", "Consolidation extent, share of the region's volume")
HIGH_OPACITY_EXTENT = _private("HIGH_OPAC_EXTENT", "High opacity extent, share of the region's volume")
LESION_WEIGHT = _private("LESION_WEIGHT", "Lesion weight")
LESION_MEAN_HU = _private("LESION_MEAN_HU", "Mean attenuation of the lesions")
HELLINGER_DISTANCE = _private("HELLINGER_DIST", "Hellinger distance of the HU histogram to normal lung")
HISTOGRAM_IOU = _private("HISTOGRAM_IOU", "Overlap (IoU) of the HU histogram with normal lung")
EMPHYSEMA = _private("LAA_950", "Share of the lungs below -950 HU (emphysema)")
LOW_ATTENUATION = _private("LAA_910", "Share of the lungs below -910 HU (low attenuation)")
PERCENTILES = {
    percent: _private(f"HU_PERCENTILE_{percent:02}", f"Percentile {percent} of attenuation in the lungs")
    for percent in (5, 15, 85, 95)
}
CT_SCORE = _private("CT_SCORE", "CT score of five lobes, 0 to 25")
LOBE_SCORE = _private("LOBE_SCORE", "CT score of the lobe, 0 to 5")
INVOLVED_LOBES = _private("INVOLVED_LOBES", "Number of involved lobes")
CT_SS = _private("CT_SS", "CT severity score (CT-SS) of 20 regions, 0 to 40")
REGION_SCORES = {
    region: _private(
        f"CT_SS_REGION_{int(region):02}",
        f"CT-SS of the {region.name.lower().replace('_', ' ')} region, 0 to 2",
    )
    for region in Region
    if region
}
SIZABLE_LESIONS = _private("SIZABLE_LESIONS", "Number of lesions of 0.1 mL and more")
PERIPHERAL_SHARE = _private("PERIPHERAL_SHARE", "Share of the lesion in the outer third of the lung's volume")
SEPARATE_LESION_VOLUME = _private("SEPARATE_LESION", "Volume of a separate lesion")
SEPARATE_LESION = _private("LESION_DETAILS", "Separate lesion")
SCORE_CERTAINTY = _private("SCORE_CERTAINTY", "Certainty of CT score and CT-SS")
CT_SCORE_PROBABILITY = _private("CT_SCORE_PROB", "Probability that the CT score is the one given")
CT_SS_PROBABILITY = _private("CT_SS_PROB", "Probability that the CT-SS is the one given")
CERTAINTY = _private("CERTAINTY", "Certainty (95 % intervals from the model's measured error)")
SCORES = _private("SCORES", "Scores")
PUBLISHED_CUT_OFF = _private("PUBLISHED_CUTOFF", "Published cut-off (literature, no diagnosis)")
PRESENCE = _private("PRESENCE", "Presence")
INTENDED_USE = _private("INTENDED_USE", "Intended use")
METHOD = _private("METHOD", "Method")
QUALITY_FLAG = _private("QUALITY_FLAG", "Quality flag")
CORRECTION = _private("CORRECTION", "Correction by a person")
IMAGE_QUALITY = _private("IMAGE_QUALITY", "Image quality")
SERIES_NOT_MEASURED = _private("NOT_MEASURED", "CT series not measured")
REFUSAL_REASON = _private("REFUSAL_REASON", "Reason")
EXPLANATION = _private("EXPLANATION", "Explanation")
WHAT_TO_DO = _private("WHAT_TO_DO", "What to do")
SOURCE_IMAGES = _private("SOURCE_IMAGES", "Images received")
SOURCE_DESCRIPTION = _private("SOURCE_SERIES", "Series Description of the source")
SOURCE_KERNEL = _private("SOURCE_KERNEL", "Convolution Kernel of the source")

# Comparison with earlier results
STUDY_DATE = Code("111060", "DCM", "Study Date")
COMPARISON = _private("COMPARISON", "Comparison with earlier results")
COMPARISON_REMARK = _private("COMPARE_REMARK", "Search for earlier results")
COMPARISON_DOUBT = _private("COMPARE_DOUBT", "Doubt about the comparison")
EARLIER_RESULT = _private("EARLIER_RESULT", "Earlier result")
DAYS_BETWEEN = _private("DAYS_BETWEEN", "Days since the earlier result")
DAYS_SINCE_ONSET = _private("ONSET_DAYS", "Days since symptom onset")
DAY = Code("d", "UCUM", "day")
_CHANGES = {
    "lung_volume_ml": ("LUNG_VOL", "lung volume", "mL"),
    "lesion_volume_ml": ("LESION_VOL", "lesion volume", "mL"),
    "ggo_volume_ml": ("GGO_VOL", "ground glass opacity volume", "mL"),
    "consolidation_volume_ml": ("CONSOL_VOL", "consolidation volume", "mL"),
    "lesion_extent_percent": ("LESION_EXT", "lesion extent, percentage points", "%"),
    "ggo_extent_percent": ("GGO_EXT", "ground glass opacity extent, percentage points", "%"),
    "consolidation_extent_percent": ("CONSOL_EXT", "consolidation extent, percentage points", "%"),
    "lesion_weight_g": ("LESION_WEIGHT", "lesion weight", "g"),
    "involved_lobes": ("LOBES", "number of involved lobes", "1"),
    "ct_score": ("CT_SCORE", "CT score", "1"),
    "ct_ss": ("CT_SS", "CT-SS", "1"),
}


def _a_day(unit: str) -> Code:
    value = "/d" if unit == "1" else f"{unit}/d"
    return Code(value, "UCUM", value)


CHANGES = {
    name: (
        _private(f"D_{key}", f"Change of {words}"),
        Code(unit, "UCUM", "no units" if unit == "1" else unit),
    )
    for name, (key, words, unit) in _CHANGES.items()
}
CHANGES_PER_DAY = {
    name: (_private(f"R_{key}", f"Change a day of {words}"), _a_day(unit))
    for name, (key, words, unit) in _CHANGES.items()
}
"""Codes of their own: who collects a report's numbers by concept must not take a change for a value."""


def range_unit(highest: int) -> Code:
    """Unit of a score from 0 to ``highest``, as PS3.16 writes it."""
    return Code(f"{{0:{highest}}}", "UCUM", f"range: 0:{highest}")


def every_code() -> tuple[Code, ...]:
    """All codes of this table."""
    found: list[Code] = []
    for value in globals().values():
        parts = value.values() if isinstance(value, dict) else [value]
        for part in parts:
            pair = part if isinstance(part, tuple) and not isinstance(part, Code) else (part,)
            found += [one for one in pair if isinstance(one, Code)]
    return tuple(found)


def private_scheme_identification() -> Dataset:
    """Item of the Coding Scheme Identification Sequence that names our scheme (PS3.3 C.12.1.1.17)."""
    item = Dataset()
    item.CodingSchemeDesignator = PRIVATE_SCHEME
    item.CodingSchemeName = "dicomnode measurements of lung opacities"
    item.CodingSchemeVersion = "1"
    item.CodingSchemeResponsibleOrganization = "dicomnode"
    return item
