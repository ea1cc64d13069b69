"""All metrics that rest on published networks, in the order of a table: the paper's first."""

from facemogle.evaluation.clip_score import TEXT
from facemogle.evaluation.cmmd import CMMD
from facemogle.evaluation.detectors import DETECTORS
from facemogle.evaluation.dinov2 import FD_DINOV2
from facemogle.evaluation.fid import FID, KID
from facemogle.evaluation.image_reward import IR
from facemogle.evaluation.structure import MASK, STRUCTURE

METRICS = (FID, KID, CMMD, MASK, TEXT, IR, STRUCTURE, FD_DINOV2, *DETECTORS)
