"""How many labelled rows the public data sets have, so that a part of one is never taken for the full set."""

from __future__ import annotations

SUBSET = "subset: "  # how the warning of a run begins that uses only a part

# By SourceConfig.folder; from the dataset cards on the hub, without the rows of SNLI whose label is -1.
FULL_ROWS: dict[str, dict[str, int]] = {
    "cola": {"train": 8551, "validation": 1043},
    "sst2": {"train": 67349, "validation": 872},
    "mrpc": {"train": 3668, "validation": 408},
    "stsb": {"train": 5749, "validation": 1500},
    "qqp": {"train": 363846, "validation": 40430},
    "mnli": {"train": 392702, "validation_matched": 9815, "validation_mismatched": 9832},
    "qnli": {"train": 104743, "validation": 5463},
    "rte": {"train": 2490, "validation": 277},
    "wnli": {"train": 635, "validation": 71},
    "snli": {"train": 549367, "validation": 9842},
    "sick": {"train": 4439, "validation": 495},
    "scitail": {"train": 23097, "validation": 1304},
    "adv_glue/adv_sst2": {"validation": 148},
    "adv_glue/adv_qqp": {"validation": 78},
    "adv_glue/adv_mnli": {"validation": 121},
    "adv_glue/adv_mnli_mismatched": {"validation": 162},
    "adv_glue/adv_qnli": {"validation": 148},
    "adv_glue/adv_rte": {"validation": 81},
}


def part_of_rows(split: str, rows: int, full: int) -> str:
    return f"{rows} of the {full} rows of {split}"
