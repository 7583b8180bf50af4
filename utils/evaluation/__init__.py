"""Scores of detections, by the ICDAR 2015 protocol.

from utils.evaluation import evaluate

precision, recall, hmean, *counts = evaluate(ground_truth, detections)
"""

from utils.evaluation.protocol import Evaluation, evaluate

__all__ = ["Evaluation", "evaluate"]
