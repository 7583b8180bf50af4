"""Small files of each format, as the tools and data sets write them, and what is in them.

Where a file comes from is said with it: written by the tool itself, or by hand from the published description.
"""

import json
from pathlib import Path

import cv2
import numpy as np

HEIGHT, WIDTH = 60, 80


def picture(path: Path, height: int = HEIGHT, width: int = WIDTH) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(cv2.imencode(path.suffix.lower(), np.full((height, width, 3), 120, np.uint8))[1].tobytes())
    return path


def text(path: Path, content: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def box(left: float, top: float, right: float, bottom: float) -> list[list[float]]:
    return [[left, top], [right, top], [right, bottom], [left, bottom]]


def flat(points: list[list[float]]) -> list[float]:
    return [number for point in points for number in point]


QUAD = [[40.0, 10.0], [70.0, 12.0], [69.0, 30.0], [39.0, 28.0]]
TURNED = [[9.50962, -0.83013], [35.49038, 14.16987], [30.49038, 22.83013], [4.50962, 7.83013]]
"""The box 5, 6, 35, 16 turned clockwise by 30 degrees around its centre."""
HEXAGON = "10.00,40.00;20.00,36.00;30.00,40.00;30.00,50.00;20.00,46.00;10.00,50.00"
AROUND_HEXAGON = box(10, 36, 30, 50)


def labelme(root: Path) -> None:
    """Written by labelme 6.3.1 (`write_label_file`); the last shape has X-AnyLabeling's keys, added by hand."""
    picture(root / "a.jpg")
    common: dict[str, object] = {"group_id": None, "flags": {}, "mask": None}
    shapes: list[dict[str, object]] = [
        {"label": "HELLO", "points": [[5.0, 6.0], [35.5, 16.25]], "description": "", "shape_type": "rectangle"},
        {"label": "text", "points": QUAD, "description": "wörld, 字", "shape_type": "polygon"},
        {
            "label": "text",
            "points": [[10.0, 40.0], [30.0, 34.0], [33.0, 44.0], [13.0, 50.0]],
            "description": "turned",
            "shape_type": "oriented_rectangle",
        },
        {"label": "###", "points": QUAD, "description": "", "shape_type": "polygon"},
        {"label": "x", "points": [[1.0, 2.0], [3.0, 4.0]], "description": "", "shape_type": "circle"},
        {"label": "text", "points": QUAD, "description": "", "shape_type": "rotation", "difficult": True},
    ]
    document: dict[str, object] = {
        "version": "6.3.1",
        "flags": {},
        "shapes": [{**shape, **common} for shape in shapes],
        "imagePath": "a.jpg",
        "imageData": None,
        "imageHeight": HEIGHT,
        "imageWidth": WIDTH,
    }
    text(root / "a.json", json.dumps(document, ensure_ascii=False, indent=2))


CVAT_HEAD = """<?xml version="1.0" encoding="utf-8"?>
<annotations>
  <version>1.1</version>
  <meta><task><id>7</id><name>signs</name><size>{size}</size><mode>{mode}</mode>
    <labels><label><name>text</name><attributes><attribute><name>text</name><mutable>False</mutable>
    <input_type>text</input_type></attribute></attributes></label><label><name>ignore</name></label></labels>
  </task></meta>
"""


def cvat(root: Path) -> None:
    """Written by Datumaro 1.13 (the CVAT exporter); `rotation` moved to where CVAT itself writes it."""
    picture(root / "images" / "a.jpg")
    picture(root / "images" / "b.png")
    text(
        root / "annotations.xml",
        CVAT_HEAD.format(size=2, mode="annotation")
        + f"""  <image id="0" name="a.jpg" width="80" height="60">
    <box label="text" occluded="0" rotation="30.00" xtl="5.00" ytl="6.00" xbr="35.00" ybr="16.00" z_order="0">
      <attribute name="text">HELLO</attribute>
    </box>
    <polygon label="text" occluded="0" points="40.00,10.00;70.00,12.00;69.00,30.00;39.00,28.00" z_order="0">
      <attribute name="text">wörld &amp; 字</attribute>
    </polygon>
    <polygon label="ignore" occluded="0" points="{HEXAGON}" z_order="0">
    </polygon>
    <points label="text" occluded="0" points="1.00,2.00" z_order="0"></points>
  </image>
  <image id="1" name="b.png" width="80" height="60">
  </image>
</annotations>
""",
    )


def cvat_video(root: Path) -> None:
    """By hand from CVAT's description of XML 1.1 (interpolation)."""
    for frame in (0, 2, 4, 5, 7, 9):
        picture(root / "images" / f"frame_{frame:06d}.png")
    shape = '<box frame="{}" keyframe="1" outside="{}" occluded="0" xtl="{}" ytl="6" xbr="{}" ybr="16" rotation="{}"/>'
    attribute = '<attribute name="text">B</attribute>'
    polygon = f'<polygon frame="{{}}" keyframe="1" outside="0" occluded="0" points="{{}}">{attribute}</polygon>'
    text(
        root / "annotations.xml",
        CVAT_HEAD.format(size=9, mode="interpolation")
        + '<track id="0" label="text" source="manual">'
        + shape.format(0, 0, 10, 20, 350)
        + shape.format(4, 0, 18, 28, 10)
        + shape.format(6, 1, 18, 28, 10)
        + '</track><track id="1" label="ignore">'
        + polygon.format(5, "0,0;10,0;10,10;0,10")
        + polygon.format(7, "4,0;14,0;14,10;4,10")
        + "</track></annotations>",
    )


def coco(root: Path) -> None:
    """Written by Datumaro 1.13 (coco_instances); `text`, `iscrowd` and the two polygons of one word added by hand."""
    picture(root / "images" / "train" / "a.jpg")
    picture(root / "images" / "val" / "b.png")
    head = {
        "licenses": [{"name": "", "id": 0, "url": ""}],
        "info": {"contributor": "", "date_created": "", "description": "", "url": "", "version": "", "year": ""},
        "categories": [
            {"id": 1, "name": "text", "supercategory": ""},
            {"id": 2, "name": "ignore", "supercategory": ""},
        ],
    }
    hexagon = [float(number) for number in HEXAGON.replace(";", ",").split(",")]
    annotations = [
        {
            "id": 1,
            "image_id": 1,
            "category_id": 1,
            "segmentation": [],
            "bbox": [5.0, 6.0, 30.0, 10.0],
            "iscrowd": 0,
            "attributes": {"rotation": 30.0, "text": "HELLO", "occluded": False},
        },
        {
            "id": 2,
            "image_id": 1,
            "category_id": 1,
            "segmentation": [flat(QUAD)],
            "bbox": [39, 10, 31, 20],
            "iscrowd": 0,
            "text": "wörld, 字",
        },
        {"id": 3, "image_id": 1, "category_id": 2, "segmentation": [hexagon[:6], hexagon[6:]]},
        {
            "id": 4,
            "image_id": 1,
            "category_id": 1,
            "segmentation": {"counts": [9], "size": [60, 80]},
            "bbox": [1.0, 2.0, 3.5, 4.0],
            "iscrowd": 1,
        },
    ]
    images = [{"id": 1, "width": 80, "height": 60, "file_name": "a.jpg", "license": 0, "coco_url": ""}]
    train = {**head, "images": images, "annotations": annotations}
    text(root / "annotations" / "instances_train.json", json.dumps(train, ensure_ascii=False))
    images = [{"id": 1, "width": 80, "height": 60, "file_name": "b.png"}]
    text(root / "annotations" / "instances_val.json", json.dumps({**head, "images": images, "annotations": []}))


def cocotext(root: Path) -> None:
    """By hand from COCO-Text's description (version 2: `mask`)."""
    for name in ("train", "val"):
        picture(root / "train2014" / f"COCO_train2014_{name}.jpg")
    annotations = {
        "45346": {
            "id": 45346,
            "image_id": 1,
            "mask": flat(QUAD),
            "bbox": [39, 10, 31, 20],
            "area": 500.0,
            "class": "machine printed",
            "legibility": "legible",
            "language": "english",
            "utf8_string": "New",
        },
        "45347": {"id": 45347, "image_id": 1, "mask": [], "bbox": [1, 2, 3, 4], "legibility": "illegible"},
        "45348": {
            "id": 45348,
            "image_id": 2,
            "mask": flat(box(1, 2, 9, 8)),
            "legibility": "legible",
            "utf8_string": "v",
        },
    }
    images = {
        name: {"id": int(name), "set": part, "width": 80, "height": 60, "file_name": f"COCO_train2014_{part}.jpg"}
        for name, part in (("1", "train"), ("2", "val"))
    }
    document = {
        "cats": {},
        "anns": annotations,
        "imgs": images,
        "imgToAnns": {"1": [45346, 45347], "2": [45348]},
        "info": {},
    }
    text(root / "cocotext.v2.json", json.dumps(document))


def textocr(root: Path) -> None:
    """By hand from TextOCR's description (version 0.1)."""
    picture(root / "train_images" / "0a1b.jpg")
    images = {"0a1b": {"id": "0a1b", "width": 80, "height": 60, "set": "train", "file_name": "train/0a1b.jpg"}}
    annotations = {
        "0a1b_1": {
            "id": "0a1b_1",
            "image_id": "0a1b",
            "bbox": [39, 10, 31, 20],
            "utf8_string": "Performance",
            "points": flat(QUAD),
            "area": 540.0,
        },
        "0a1b_2": {
            "id": "0a1b_2",
            "image_id": "0a1b",
            "bbox": [1, 2, 9, 8],
            "utf8_string": ".",
            "points": flat(box(1, 2, 10, 10)),
        },
    }
    document = {"info": {}, "imgs": images, "anns": annotations, "imgToAnns": {"0a1b": ["0a1b_1", "0a1b_2"]}}
    text(root / "TextOCR_0.1_train.json", json.dumps(document))


def hiertext(root: Path) -> None:
    """By hand from HierText's description."""
    picture(root / "train" / "0d3f.jpg")
    picture(root / "validation" / "77aa.jpg")
    word = {"vertices": QUAD, "text": "Cafe", "legible": True, "handwritten": False, "vertical": False}
    blurred = {"vertices": box(1, 2, 9, 8), "text": "", "legible": False, "handwritten": False, "vertical": False}
    line = {"vertices": QUAD, "text": "Cafe", "legible": True, "words": [word, blurred]}
    unread = {"vertices": box(40, 40, 60, 50), "text": "", "legible": False, "words": []}
    paragraphs = [
        {"vertices": QUAD, "legible": True, "lines": [line, unread]},
        {"vertices": box(2, 40, 20, 50), "legible": False, "lines": []},
    ]
    for part, stem in (("train", "0d3f"), ("validation", "77aa")):
        image = {
            "image_id": stem,
            "image_width": 80,
            "image_height": 60,
            "paragraphs": paragraphs if part == "train" else [],
        }
        text(root / "gt" / f"{part}.jsonl", json.dumps({"info": {"date": "release"}, "annotations": [image]}))


def ppocrlabel(root: Path) -> None:
    """By hand from PPOCRLabel's description; it writes paths that start with the folder's name."""
    picture(root / "a.jpg")
    picture(root / "b.png")
    words = [
        {"transcription": "HELLO, 字", "points": [[40, 10], [70, 12], [69, 30], [39, 28]], "difficult": False},
        {"transcription": "待识别", "points": [[1, 2], [9, 2], [9, 8], [1, 8]], "difficult": True},
        {"transcription": "###", "points": [[1, 2], [9, 2], [9, 8], [1, 8]], "difficult": False},
        {"transcription": "long", "points": [[10, 40], [20, 36], [30, 40], [30, 50], [20, 46], [10, 50]]},
    ]
    lines = [f"{root.name}/a.jpg\t{json.dumps(words, ensure_ascii=False)}", f"{root.name}/b.png\t[]"]
    text(root / "Label.txt", "\n".join(lines) + "\n")


def yolo(root: Path) -> None:
    """Layout and YAML by Datumaro 1.13 (yolo_ultralytics); the oriented boxes by hand from Ultralytics' description."""
    for name in ("train/a.jpg", "train/b.png", "val/c.jpg"):
        picture(root / "images" / name)
    text(
        root / "labels/train/a.txt",
        "0 0.5 0.1666666667 0.875 0.2 0.8625 0.5 0.4875 0.4666666667\n1 0.25 0.25 0.5 0.1\n",
    )
    text(root / "labels/val/c.txt", "0 0.25 0.183333 0.375000 0.166667\n")
    text(root / "data.yaml", "train: images/train\nval: images/val\nnames:\n  0: text\n  1: ignore\n")


def totaltext(root: Path) -> None:
    """The first word's form is that of the data set's own poly_gt_img1008.txt; long polygons run over two lines."""
    picture(root / "Images" / "Train" / "img1.jpg")
    text(
        root / "Groundtruth" / "Polygon" / "Train" / "poly_gt_img1.txt",
        "x: [[40 70 69 39]], y: [[10 12 30 28]], ornt: [u'h'], transcriptions: [u'CONNOISSENR']\n"
        "x: [[10 20 30 30\n 20 10]], y: [[40 36 40 50 46 50]], ornt: [u'c'], transcriptions: [u\"It's\"]\n"
        "x: [[ 1  9  9  1]], y: [[2 2 8 8]], ornt: [u'#'], transcriptions: [u'#']\n",
    )


def totaltext_mat(root: Path) -> None:
    """The same as a cell array, by SciPy, in the columns of the data set's own files."""
    import scipy.io

    picture(root / "Images" / "Test" / "img1.jpg")
    rows = [
        ("x:", [[40, 70, 69, 39]], "y:", [[10, 12, 30, 28]], "CONNOISSENR", "h"),
        ("x:", [[10, 20, 30, 30, 20, 10]], "y:", [[40, 36, 40, 50, 46, 50]], "It's", "c"),
        ("x:", [[1, 9, 9, 1]], "y:", [[2, 2, 8, 8]], "#", "#"),
    ]
    cells = np.empty((len(rows), 6), object)
    for number, row in enumerate(rows):
        cells[number] = [np.array(value, np.int16) if isinstance(value, list) else value for value in row]
    file = root / "Groundtruth" / "Polygon" / "Test" / "poly_gt_img1.mat"
    file.parent.mkdir(parents=True, exist_ok=True)
    scipy.io.savemat(file, {"polygt": cells})


def td500(root: Path) -> None:
    """By hand from MSRA-TD500's description; its images end in .JPG."""
    picture(root / "train" / "IMG_0059.JPG")
    text(root / "train" / "IMG_0059.gt", f"0 0 5 6 30 10 {np.pi / 6}\n1 1 40 40 20 10 0.000000\n")
    picture(root / "test" / "IMG_0060.JPG")
    text(root / "test" / "IMG_0060.gt", "0 0 5 6 30 10 0.0\n")


def icdar2003(root: Path) -> None:
    """By hand from the description of ICDAR 2003's words.xml."""
    picture(root / "apanar_06.08.2002" / "IMG_1261.JPG")
    text(
        root / "words.xml",
        '<?xml version="1.0" encoding="UTF-8"?>\n<tagset>\n  <image>\n'
        "    <imageName>apanar_06.08.2002/IMG_1261.JPG</imageName>\n"
        '    <resolution x="1600" y="1200" />\n    <taggedRectangles>\n'
        '      <taggedRectangle x="5.0" y="6.0" width="30.0" height="10.0" offset="0.0" rotation="0.0" userName="a">\n'
        "        <tag>self</tag>\n        <segmentation><xOff>30</xOff></segmentation>\n      </taggedRectangle>\n"
        "    </taggedRectangles>\n  </image>\n</tagset>\n",
    )


def svt(root: Path) -> None:
    """By hand from Street View Text's own test.xml."""
    for part, name in (("train", "14_03"), ("test", "14_04")):
        picture(root / "img" / f"{name}.jpg")
        text(
            root / f"{part}.xml",
            f'<?xml version="1.0" encoding="utf-8"?><tagset><image><imageName>img/{name}.jpg</imageName>'
            '<address>341 SW 10th</address><lex>LIVING,ROOM</lex><Resolution x="80" y="60"/><taggedRectangles>'
            '<taggedRectangle height="10" width="30" x="5" y="6"><tag>LIVING</tag></taggedRectangle>'
            "</taggedRectangles></image></tagset>",
        )
