"""Drafts of a video in each format, corrections carried over, unmatched detections: on a rendered clip with truth."""

import json
import os
import shutil
from pathlib import Path
from xml.etree.ElementTree import Element, canonicalize, tostring

import cv2
import numpy as np
import pytest

from benchmarks.prelabel import Clip, film
from datasets import open_dataset
from tests.helpers import write_picture
from tools import prelabel
from utils.data.annotations import DONT_CARE
from utils.data.formats.entries import Entry
from utils.data.formats.folder import Folder
from utils.data.formats.registry import iterate_entries, recognise
from utils.data.formats.xml_files import read_xml
from utils.data.image_types import DEFAULT_READING
from utils.data.images import read_image, write_image
from utils.data.problems import Problems
from utils.errors import UserError
from utils.geometry import pairwise_iou
from utils.labelling.drafts import RECORD, TEXT, make_drafts, read_record
from utils.labelling.frames import Chooser, SourceFrame, iterate_frames
from utils.labelling.propagation import quads_of
from utils.labelling.unmatched import add_unmatched
from utils.labelling.writing import DRAFT_FORMATS, DraftFolder, read_drafted, replace_annotations
from utils.rendering.scenes import Studio

FRAMES, EVERY = 31, 5


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> Clip:
    return film(Studio(), tmp_path_factory.mktemp("clip") / "walk.mp4", FRAMES, seed=2)


class PerfectDetector:
    """Detects the true words of the frames that it is given in turn, with an error of some pixels.

    missed: numbers of calls in which it detects nothing. score: of each detection.
    """

    def __init__(self, clip: Clip, every: int = EVERY, missed=(), score: float = 0.9):
        self.clip, self.every, self.missed, self.score, self.calls = clip, every, missed, score, 0

    def detect(self, image):
        truth = self.clip.truth[self.calls * self.every]
        quads = truth.quads[~truth.ignored].astype(np.float32)
        quads = quads[:0] if self.calls in self.missed else quads
        self.calls += 1
        return quads, np.full(len(quads), self.score, np.float32)


def frames_of(clip: Clip):
    return iterate_frames(clip.path, DEFAULT_READING, Problems())


def draft(clip: Clip, folder: Path, file_format: str = "labelme", **detector):
    """Draft the clip with a perfect detector; the frames, as the record has them."""
    output = DraftFolder(folder, file_format)
    drafts = make_drafts(frames_of(clip), Chooser(EVERY), PerfectDetector(clip, **detector).detect, keep=output.keep)
    output.write(clip.path, drafts, Problems())
    return read_record(folder)[2]


def current(folder: Path) -> dict[str, Entry]:
    _, file_format, drafts = read_record(folder)
    return read_drafted(folder, file_format, drafts, Problems())


def run(*line: object) -> None:
    prelabel.main(prelabel.build_parser().parse_args([str(word) for word in line]))


def best_overlaps(entry: Entry, quads: np.ndarray) -> np.ndarray:
    """For each of the entry's words the largest IoU with one of the quads (K, 4, 2)."""
    return np.array([pairwise_iou(np.broadcast_to(quad, quads.shape), quads).max() for quad in entry.quads])


class TestDrafts:
    @pytest.mark.parametrize("file_format", DRAFT_FORMATS)
    def test_each_format_can_be_trained_on(self, clip, tmp_path, file_format):
        drafts = draft(clip, tmp_path / "out", file_format)
        assert [each.number for each in drafts] == list(range(0, FRAMES, EVERY))
        assert recognise(Folder(tmp_path / "out")).format.name == file_format
        assert not (tmp_path / "out" / ".pictures").exists()
        dataset = open_dataset(None, str(tmp_path / "out"), True)
        assert len(dataset) == len(drafts)
        for each in drafts:
            entry, truth = current(tmp_path / "out")[each.name], clip.truth[each.number]
            assert np.allclose(entry.quads, quads_of(each.words), atol=0.01)
            assert (best_overlaps(truth._replace(quads=truth.quads[~truth.ignored]), entry.quads) > 0.5).all()

    def test_pictures_are_the_chosen_frames(self, clip, tmp_path):
        drafts = draft(clip, tmp_path / "out")
        for frame in frames_of(clip):
            path = tmp_path / "out" / "train" / f"walk_{frame.number:06d}.jpg"
            assert path.exists() == (frame.number % EVERY == 0)
            if path.exists():
                assert np.abs(read_image(path).astype(float) - frame.image).mean() < 4
        times = [each.time_ms for each in drafts]
        assert np.allclose(times, [40 * each.number for each in drafts], atol=0.01)

    def test_a_word_has_one_number_in_all_frames(self, clip, tmp_path):
        drafts = draft(clip, tmp_path / "out")
        first = {word.track: word for word in drafts[0].words}
        last = {word.track: word for word in drafts[-1].words}
        assert len(first) >= 5
        assert len(set(first) & set(last)) >= 4
        assert all(word.text == TEXT and not word.ignored for word in drafts[0].words)

    def test_a_missed_word_is_followed_and_uncertain_ones_are_marked(self, clip, tmp_path):
        drafts = draft(clip, tmp_path / "out", missed=(2,))
        truth = clip.truth[drafts[2].number]
        followed = [word for word in drafts[2].words if word.score is None]
        assert len(followed) >= 0.6 * (~truth.ignored).sum()
        assert (best_overlaps(truth._replace(quads=quads_of(followed)), truth.quads) > 0.5).all()
        weak = draft(clip, tmp_path / "weak", score=0.5)
        assert all(word.ignored and word.text == "uncertain 0.50" for each in weak for word in each.words)
        document = json.loads((tmp_path / "weak" / "train" / "walk_000000.json").read_text())
        assert {shape["label"] for shape in document["shapes"]} == {DONT_CARE}
        assert {shape["description"] for shape in document["shapes"]} == {"uncertain 0.50"}
        assert {shape["score"] for shape in document["shapes"]} == {0.5}

    def test_chosen_by_change(self):
        rng = np.random.default_rng(0)
        pictures = [cv2.resize(rng.integers(0, 255, (6, 8, 3), np.uint8), (80, 60)) for _ in range(3)]
        order = [0, 0, 0, 1, 1, 2, 0]
        chooser = Chooser(1, change=0.4)
        frames = [SourceFrame("", number, None, pictures[each]) for number, each in enumerate(order)]
        assert [chooser.chooses(frame) for frame in frames] == [True, False, False, True, False, True, True]
        darker = [SourceFrame("", number, None, pictures[0] // (number + 1)) for number in range(3)]
        chooser = Chooser(1, change=0.4)
        assert [chooser.chooses(frame) for frame in darker] == [True, False, False]

    def test_black_frames_do_not_differ(self):
        pictures = [np.zeros((60, 80, 3), np.uint8) for _ in range(4)]
        pictures[3][:30] = 255
        chooser = Chooser(1, change=0.4)
        frames = [SourceFrame("", number, None, picture) for number, picture in enumerate(pictures)]
        assert [chooser.chooses(frame) for frame in frames] == [True, False, False, True]


class TestPropagation:
    @pytest.mark.parametrize("file_format", DRAFT_FORMATS)
    def test_a_corrected_frames_words_carry_over(self, clip, tmp_path, file_format, capsys):
        folder = tmp_path / "out"
        drafts = draft(clip, folder, file_format, missed=range(100))
        assert not any(each.words for each in drafts)
        entries, truth = current_or_empty(folder, drafts), clip.truth[EVERY]
        entries[drafts[1].name] = truth._replace(name=drafts[1].name, part="train")
        replace_annotations(folder, file_format, list(entries.values()), drafts)
        run(clip.path, "--out", folder, "--propagate", EVERY)
        assert "carried over to 5 frames, 10 to 30" in capsys.readouterr().out
        after = current(folder)
        assert len(after.get(drafts[0].name, truth._replace(quads=truth.quads[:0])).quads) == 0
        for each in drafts[2:]:
            entry, true = after[each.name], clip.truth[each.number]
            assert (best_overlaps(entry, true.quads) > 0.5).mean() > 0.85
            words = set(np.array(true.texts)[~true.ignored]) & set(np.array(truth.texts)[~truth.ignored])
            assert len(words & set(entry.texts)) >= 0.8 * len(words)

    def test_deleted_words_are_deleted_in_the_following_frames(self, clip, tmp_path):
        folder = tmp_path / "out"
        drafts = draft(clip, folder)
        entry = current(folder)[drafts[0].name]
        tracks = [{word.track for word in each.words} for each in drafts]
        index = next(n for n, word in enumerate(drafts[0].words) if all(word.track in each for each in tracks[:3]))
        track, kept = drafts[0].words[index].track, [n for n in range(len(entry.quads)) if n != index]
        texts = [entry.texts[n] for n in kept]
        left = entry._replace(quads=entry.quads[kept], ignored=entry.ignored[kept], texts=texts)
        replace_annotations(folder, "labelme", [left], drafts)
        run(clip.path, "--out", folder, "--propagate", 0)
        after = read_record(folder)[2]
        assert not any(word.track == track for each in after[1:] for word in each.words)
        for before, now in zip(drafts[1:3], after[1:3], strict=True):
            others = {word.track for word in before.words} - {track}
            assert len(others & {word.track for word in now.words}) >= 0.9 * len(others)

    def test_it_ends_at_the_next_corrected_frame(self, clip, tmp_path, capsys):
        folder = tmp_path / "out"
        drafts = draft(clip, folder, missed=range(100))
        for number in (0, 3):
            entry = clip.truth[number * EVERY]._replace(name=drafts[number].name, part="train")
            replace_annotations(folder, "labelme", [entry], drafts)
        third = (folder / "train" / "walk_000015.json").read_bytes()
        run(clip.path, "--out", folder, "--propagate", 0)
        assert "carried over to 2 frames, 5 to 10" in capsys.readouterr().out
        assert (folder / "train" / "walk_000015.json").read_bytes() == third
        run(clip.path, "--out", folder, "--propagate", 10)
        assert "no frame to carry words over to" in capsys.readouterr().out

    def test_frames_are_found_again_by_name(self, walk):
        """Pictures that came to the source later, before and between the drafted ones, shift their numbers."""
        walk("labelme")
        for name in ("a.png", "walk_0.png", "walk_1b.png"):
            shutil.copyfile(walk.source / "walk_3.png", walk.source / name)
        file = walk.out / "train" / "walk_1.json"
        file.write_text(file.read_text().replace('"word"', '"TYPED"'))
        run(walk.source, "--out", walk.out, "--propagate", 0)
        entries = current(walk.out)
        for number in (2, 3):
            entry = entries[f"walk_{number}.png"]
            assert entry.texts == ["TYPED"]
            assert np.abs(entry.quads[0, :, 0].min() - (80 + 4 * number)) < 1

    def test_lines_of_other_images_stay_as_they_are(self, tmp_path, walk):
        """PPOCRLabel's file with a corrected frame, a picture of the user's own, and a broken line."""
        label = walk("ppocrlabel") / "train" / "Label.txt"
        write_picture(label.parent / "more" / "walk_2.png")
        first, second, third = label.read_text().splitlines()
        own = 'train/more/walk_2.png\t[{"transcription": "MINE",  "points": [[1,2],[9,2],[9,8]], "key_cls": "sign"}]'
        typed, broken = first.replace('"word"', '"TYPED", "key_cls": "name"'), "train/lost.png\t[{"
        third = third.replace("train/", "").replace('"word"', '"字"')
        label.write_bytes("\r\n".join(["\ufeff" + own, broken, typed, second, third, ""]).encode())
        run(walk.source, "--out", walk.out, "--propagate", 0)
        lines = label.read_bytes().decode().split("\r\n")
        assert [lines[place] for place in (0, 1, 2, 4, 5)] == ["\ufeff" + own, broken, typed, third, ""]
        path, _, words = lines[3].partition("\t")
        assert path == "train/walk_2.png"
        assert [word["transcription"] for word in json.loads(words)] == ["TYPED"]

    def test_other_elements_of_an_xml_file_stay(self, tmp_path, walk):
        """CVAT's file as the user exported it: in another place, with tags, attributes and a shape that is no word."""
        walk("cvat")
        written = walk.out / "train" / "annotations.xml"
        document = written.read_text().replace(">word<", ">TYPED<", 1)
        start, second, third = [f"<image{part}" for part in document.split("<image")][1:]
        tag, line = '<tag label="blurred" source="manual" />', '<polyline label="edge" points="1,2;3,4" />'
        own = f'<image id="9" name="b.png" width="96" height="64" subset="train"><!-- mine -->{line}</image>'
        second = second.replace("</image>", f"{tag}</image>")
        third = third.replace("</image>", f"{line}</image>")
        write_picture(walk.out / "b.png")
        written.unlink()
        file = walk.out / "annotations.xml"
        file.write_text(document.split("<image")[0] + own + start + second + third)
        before = file.read_text()
        run(walk.source, "--out", walk.out, "--propagate", 0)
        assert not written.exists()
        images = {image.get("name"): image for image in read_xml(file, comments=True).iter("image")}
        assert list(images) == ["b.png", "walk_1.png", "walk_2.png", "walk_3.png"]
        file.write_text(before)
        for image in read_xml(file, comments=True).iter("image"):
            kept = image.get("name") != "walk_2.png"
            assert (canonical(images[image.get("name")]) == canonical(image)) == kept
        assert {element.tag for element in images["walk_2.png"]} == {"polygon", "tag"}
        assert [found.text for found in images["walk_2.png"].iter("attribute")] == ["TYPED"]

    def test_files_that_cannot_be_changed_are_refused(self, walk, refuses):
        """Before the video is read: it does not exist."""
        line = ("-m", "tools.prelabel", "none.mp4", "--out", walk.out, "--propagate", 0)
        label = walk("ppocrlabel") / "train" / "Label.txt"
        label.write_bytes(label.read_bytes().replace(b"word", "字体".encode("gbk")))
        before = label.read_bytes()
        refuses(*line, parts=[f"{label}: no words", "not UTF-8; save it as UTF-8"])
        assert label.read_bytes() == before
        shutil.rmtree(walk.out)
        file = walk("cvat") / "train" / "annotations.xml"
        file.write_text(file.read_text().replace("</annotations>", "<track id='0' label='text' /></annotations>"))
        refuses(*line, parts=[f"{file}: no words", "export it as 'CVAT for images 1.1'"])

    @pytest.mark.parametrize("file_format", ["labelme", "txt"])
    def test_a_frame_with_what_is_no_word_has_been_changed(self, walk, file_format, capsys):
        """A circle, a line that was cut: it is left out of the words, and it is the user's."""
        walk(file_format)
        (file,) = [path for path in walk.out.rglob("walk_2.*") if path.suffix in (".json", ".txt")]
        circle = '{"label": "x", "points": [[1, 2], [3, 4]], "shape_type": "circle"}'
        text = file.read_text()
        text = text.replace('"shapes": [', f'"shapes": [{circle},') if file_format == "labelme" else f"{text}1,2,3\n"
        file.write_text(text)
        run(walk.source, "--out", walk.out, "--propagate", 0)
        assert "no frame to carry words over to" in capsys.readouterr().out
        assert file.read_text() == text

    def test_texts_that_were_typed_stay(self, clip, tmp_path):
        folder = tmp_path / "out"
        drafts = draft(clip, folder)
        entry = current(folder)[drafts[0].name]
        typed = entry._replace(texts=[f"typed{number}" for number in range(len(entry.texts))])
        replace_annotations(folder, "labelme", [typed], drafts)
        run(clip.path, "--out", folder, "--propagate", 0)
        assert set(current(folder)[drafts[1].name].texts) & set(typed.texts)
        assert current(folder)[drafts[0].name].texts == typed.texts

    def test_errors(self, clip, tmp_path, refuses):
        drafts = draft(clip, tmp_path / "out")
        line = ("-m", "tools.prelabel", clip.path, "--out")
        refuses(*line, tmp_path / "out", "--propagate", 7, parts=["--propagate 7", "0, 5, 10"])
        refuses(*line, tmp_path / "none", "--propagate", 0, parts=["prelabel.jsonl", "draft the folder"])
        refuses(*line, tmp_path / "other", parts=["--pretrain-model"])
        (tmp_path / "out" / RECORD).write_text("{}\n[]")
        refuses(*line, tmp_path / "out", "--propagate", 0, parts=["not a record"])
        with pytest.raises(UserError, match="new or an empty folder"):
            DraftFolder(tmp_path / "out", "txt")
        assert drafts


def canonical(image: Element) -> str:
    return canonicalize(tostring(image), strip_text=True, with_comments=True)


class Walk:
    """Three pictures of one scene, and their drafts: one word, 4 pixels to the right of where it was before."""

    def __init__(self, folder: Path):
        self.source, self.out = folder / "pictures", folder / "out"
        self.source.mkdir()
        scene = cv2.resize(np.random.default_rng(0).integers(0, 255, (40, 60, 3), np.uint8), (240, 160))
        for number in (1, 2, 3):
            write_image(self.source / f"walk_{number}.png", np.roll(scene, 4 * number, 1))

    def __call__(self, file_format: str) -> Path:
        """Draft the pictures; the folder."""
        left = iter((84, 88, 92))

        def detect(image):
            x = next(left)
            return np.array([[[x, 60], [x + 60, 60], [x + 60, 90], [x, 90]]], np.float32), np.array([0.9], np.float32)

        output = DraftFolder(self.out, file_format)
        frames = iterate_frames(self.source, DEFAULT_READING, Problems())
        output.write(self.source, make_drafts(frames, Chooser(1), detect, keep=output.keep), Problems())
        return self.out


@pytest.fixture
def walk(tmp_path) -> Walk:
    return Walk(tmp_path)


def current_or_empty(folder: Path, drafts) -> dict[str, Entry]:
    """The entries; of frames without words, which some formats do not list, empty ones."""
    _, file_format, _ = read_record(folder)
    try:
        entries = read_drafted(folder, file_format, drafts, Problems())
    except UserError:
        entries = {}
    return {each.name: entries.get(each.name, each.entry()) for each in drafts}


class TestUnmatched:
    def test_only_unexplained_detections_are_added(self):
        word = np.array([[10, 10], [50, 10], [50, 30], [10, 30]], float)
        entry = Entry("a.jpg", word[None], np.array([False]), ["EXIT"])
        part, far, around = word[[0, 0, 2, 2]] + [[0, 0], [8, 0], [-32, 0], [-40, 0]], word + 100, word * 1.5 - 5
        marked = add_unmatched(entry, np.stack([part, far, around, word]))
        assert np.array_equal(marked.quads, np.stack([word, far]))
        assert (marked.texts, marked.ignored.tolist()) == (["EXIT", DONT_CARE], [False, True])
        assert add_unmatched(entry, np.zeros((0, 4, 2))).texts == ["EXIT"]
        alone = add_unmatched(entry._replace(quads=np.zeros((0, 4, 2)), ignored=np.zeros(0, bool), texts=[]), far[None])
        assert alone.texts == [DONT_CARE]

    def test_a_folder_is_copied_with_marks(self, rendered, tmp_path, monkeypatch, capsys):
        corner = np.array([[[0, 0], [9, 0], [9, 5], [0, 5]], [[20, 0], [29, 0], [29, 5], [20, 5]]], np.float32)

        class Fixed:
            def detect(self, image):
                return corner, np.array([0.9, 0.3], np.float32)

        monkeypatch.setattr(prelabel, "open_detector", lambda args: Fixed())
        before = {path: path.read_bytes() for path in (rendered / "frames").rglob("*") if path.is_file()}
        line = (rendered / "frames", "--pretrain-model", "any.pt", "--out", tmp_path / "out", "--ignore-unmatched")
        run(*line)
        added = int(capsys.readouterr().out.split(": ")[1].split(" ")[0])
        assert 0 < added <= 6
        read = {}
        for root in (rendered / "frames", tmp_path / "out"):
            folder = Folder(root)
            read[root] = {entry.name: entry for entry in iterate_entries(folder, recognise(folder), Problems())}
        old, new = read.values()
        assert set(old) == set(new)
        for name, entry in new.items():
            count = len(old[name].quads)
            assert np.allclose(entry.quads[:count], old[name].quads)
            assert entry.texts[:count] == old[name].texts
            assert entry.texts[count:] in ([], [DONT_CARE])
            assert "test" not in name or len(entry.texts) == count
        assert sum(len(new[name].texts) - len(old[name].texts) for name in new) == added
        assert before == {path: path.read_bytes() for path in (rendered / "frames").rglob("*") if path.is_file()}
        with pytest.raises(UserError, match="new or an empty folder"):
            run(*line)

    def test_test_images_stay_test_images(self, tmp_path, run_script, small_checkpoint):
        """Also where only their order says that they are."""
        for number in range(10):
            write_picture(tmp_path / "in" / f"img_{number}.jpg")
            (tmp_path / "in" / f"gt_img_{number}.txt").write_text("10,10,50,10,50,30,10,30,word\n")
        line = ("-m", "tools.prelabel", tmp_path / "in", "--pretrain-model", small_checkpoint, "--ignore-unmatched")
        process = run_script(*line, "--out", tmp_path / "out", "--short-side", 64)
        assert "of 9 training images" in process.stdout
        test = tmp_path / "out" / "sample_test_annotation_txt"
        assert [path.name for path in test.iterdir()] == ["img_9.txt"]
        assert (test / "img_9.txt").read_text() == (tmp_path / "in" / "gt_img_9.txt").read_text()

    def test_an_unreadable_picture_keeps_its_words(self, tmp_path, run_script, small_checkpoint):
        words = "10,10,50,10,50,30,10,30,word\n"
        for number in (1, 2, 3):
            path = write_picture(tmp_path / "train" / f"img_{number}.jpg")
            (tmp_path / "train" / f"gt_img_{number}.txt").write_text(words)
            if number == 2:
                path.write_bytes(b"")
        line = ("-m", "tools.prelabel", tmp_path / "train", "--pretrain-model", small_checkpoint, "--ignore-unmatched")
        process = run_script(*line, "--out", tmp_path / "out", "--short-side", 64)
        assert "of 3 training images" in process.stdout
        assert "1 pictures unreadable, their words left as they are (e.g. " in process.stdout
        written = tmp_path / "out" / "sample_train_annotation_txt"
        assert (written / "img_2.txt").read_text() == words
        assert {path.name for path in written.iterdir()} == {f"img_{number}.txt" for number in (1, 2, 3)}

    @pytest.mark.parametrize(
        ("names", "file_format", "shared"),
        [
            (("1.jpg", "1.png"), "txt", "one txt file"),
            (("1.jpg", "1.png"), "labelme", "one labelme file"),
            (("img/1.jpg", "imgs/1.jpg"), "txt", "one txt file"),
            (("img/1.jpg", "imgs/1.jpg"), None, "the name 1.jpg"),
        ],
    )
    def test_images_that_would_share_a_file_are_refused_first(self, tmp_path, names, file_format, shared):
        """Before the detector is built: the checkpoint does not exist."""
        word = '[{"transcription": "EXIT", "points": [[1, 2], [9, 2], [9, 8], [1, 8]]}]'
        for name in names:
            write_picture(tmp_path / "train" / name)
        (tmp_path / "train" / "Label.txt").write_text("".join(f"{name}\t{word}\n" for name in names))
        line = (tmp_path / "train", "--pretrain-model", tmp_path / "no.pt", "--out", tmp_path / "out")
        line += ("--ignore-unmatched", *(("--format", file_format) if file_format else ()))
        with pytest.raises(UserError, match=f"{names[0]} and {names[1]} would share {shared}; rename one of them"):
            run(*line)
        (tmp_path / "train" / names[0]).unlink()
        with pytest.raises(UserError, match=r"no\.pt"):
            run(*line)
        assert not (tmp_path / "out").exists()


def test_names_with_other_line_breaks(tmp_path, walk):
    for path in walk.source.iterdir():
        path.rename(path.with_name(f"\u2028\x85 {path.name}"))
    walk("labelme")
    assert [draft.name for draft in read_record(walk.out)[2]] == [
        f"\u2028\x85 walk_{number}.png" for number in (1, 2, 3)
    ]


def test_an_interrupted_run_leaves_nothing(tmp_path, walk, monkeypatch):
    class Interrupted:
        def detect(self, image):
            raise KeyboardInterrupt

    monkeypatch.setattr(prelabel, "open_detector", lambda args: Interrupted())
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            run(walk.source, "--pretrain-model", "any.pt", "--out", walk.out)
        assert not any(walk.out.iterdir())


def test_an_output_inside_the_source_is_refused(walk):
    """Its pictures would be read with the source's."""
    with pytest.raises(UserError, match="inside the input folder"):
        run(walk.source, "--pretrain-model", "any.pt", "--out", walk.source / "drafts")


@pytest.mark.parametrize("file_format", DRAFT_FORMATS)
def test_names_that_are_not_utf_8(tmp_path, run_script, small_checkpoint, file_format):
    photo, source = write_picture(tmp_path / "a.jpg"), os.fsencode(tmp_path) + b"/fotos \xe9"
    os.mkdir(source)
    shutil.copyfile(photo, source + b"/caf\xe9.jpg")
    line = ("-m", "tools.prelabel", os.fsdecode(source), "--pretrain-model", small_checkpoint, "--format", file_format)
    process = run_script(*line, "--out", tmp_path / "out", "--short-side", 64, "--score-threshold", 0.05)
    assert "1 images whose names are not UTF-8, renamed" in process.stdout
    assert [path.name for path in (tmp_path / "out").rglob("*.jpg")] == ["caf%E9.jpg"]
    path, _, (draft,) = read_record(tmp_path / "out")
    assert (os.fsencode(path), draft.name) == (source, "caf%E9.jpg")


@pytest.mark.parametrize(
    ("names", "file_format", "shared"),
    [
        (("img_4.jpg", "img_4.png"), "labelme", "one labelme file"),
        (("img_4.jpg", "img_4.png"), "txt", "one txt file"),
        (("caf\udce9.jpg", "caf%E9.jpg"), "cvat", "the name caf%E9.jpg"),
    ],
)
def test_pictures_that_would_share_a_file_are_refused_first(tmp_path, names, file_format, shared):
    """Before the detector is built: the checkpoint does not exist."""
    (tmp_path / "in").mkdir()
    for name in names:
        shutil.copyfile(write_picture(tmp_path / "a.png"), tmp_path / "in" / name)
    line = (tmp_path / "in", "--pretrain-model", tmp_path / "no.pt", "--out", tmp_path / "out")
    with pytest.raises(UserError, match=f"would share {shared}; rename one of them"):
        run(*line, "--format", file_format)
    (tmp_path / "in" / names[0]).unlink()
    with pytest.raises(UserError, match=r"no\.pt"):
        run(*line, "--format", file_format)
    assert not (tmp_path / "out").exists()


def test_a_folder_of_pictures_with_a_real_network(tmp_path, run_script, small_checkpoint):
    for number in (1, 2, 10):
        write_image(picture_path(tmp_path, number), np.full((64, 96, 3), 20 * number, np.uint8))
    (tmp_path / "in" / "broken.jpg").write_bytes(b"\xff\xd8 cut")
    line = ("-m", "tools.prelabel", tmp_path / "in", "--pretrain-model", small_checkpoint, "--out", tmp_path / "out")
    process = run_script(*line, "--short-side", 64, "--score-threshold", 0.05, "--format", "txt")
    assert "3 frames" in process.stdout
    assert "1 pictures unreadable" in process.stdout
    assert [each.name for each in read_record(tmp_path / "out")[2]] == ["img_1.png", "img_2.png", "img_10.png"]
    assert len(list((tmp_path / "out" / "train_images1").iterdir())) == 3


def picture_path(folder: Path, number: int) -> Path:
    path = folder / "in" / f"img_{number}.png"
    path.parent.mkdir(exist_ok=True)
    return path
