"""The words of a picture with NumPy, OpenCV and ONNX Runtime alone: python3 detect_onnx.py model.onnx street.jpg"""

import json
import sys

import cv2
import numpy as np
import onnxruntime

session = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
info = {key: json.loads(value) for key, value in session.get_modelmeta().custom_metadata_map.items()}
picture = cv2.imread(sys.argv[2])
scale = info["short_side"] / min(picture.shape[:2])
picture = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
height, width = picture.shape[:2]
images = np.zeros((1, 3, height + -height % 32, width + -width % 32), np.float32)  # padded right and bottom
images[0, :, :height, :width] = ((picture[..., ::-1] / 255 - info["mean"]) / info["std"]).transpose(2, 0, 1)
logits, distances, angles = session.run(["confidence", "distances", "angle"], {"images": images})
scores = 1 / (1 + np.exp(-logits[0, 0]))
y, x = np.nonzero(scores[: (height + 3) // 4, : (width + 3) // 4] >= info["score_threshold"])
(top, right, bottom, left), turn = distances[0][:, y, x], angles[0, 0, y, x] - np.pi / 4
along, down = (right - left) / 2, (bottom - top) / 2  # from the cell to the centre of its word
centres = 4 * x + along * np.cos(turn) + down * np.sin(turn), 4 * y - along * np.sin(turn) + down * np.cos(turn)
columns = np.stack([*centres, left + right, top + bottom, -np.degrees(turn)], 1).tolist()
boxes = [((centre_x, centre_y), (wide, high), degrees) for centre_x, centre_y, wide, high, degrees in columns]
for number in cv2.dnn.NMSBoxesRotated(boxes, scores[y, x].tolist(), info["score_threshold"], 0.2):
    print(*(cv2.boxPoints(boxes[number]) / scale).round(1).ravel(), f"{scores[y[number], x[number]]:.3f}", sep=",")
