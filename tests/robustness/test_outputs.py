"""Outputs: never an input, never a file of somebody else, never two results under one name."""

import json
import os
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.helpers import write_picture
from utils.errors import UserError
from utils.evaluation.html_report import FrameScore, render_page, report_folder
from utils.evaluation.protocol import Evaluation
from utils.runtime.data_folder import LIST, data_set_folder
from utils.runtime.files import append_line, copy_file, refuse_overlap, write_file
from utils.runtime.results import LONGEST_NAME, ResultFolder


def contents(folder: Path) -> dict[str, bytes]:
    """Path -> bytes of all files, and of all links where they lead."""
    return {
        str(path.relative_to(folder)): os.fsencode(os.readlink(path)) if path.is_symlink() else path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_symlink() or path.is_file()
    }


def visible(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if not path.name.startswith(".")}


@pytest.fixture
def icdar(tmp_path) -> Path:
    """Four pictures and texts in ICDAR 2015's layout."""
    folder = tmp_path / "icdar"
    for number in range(1, 5):
        write_picture(folder / "ch4_training_images" / f"img_{number}.jpg")
        text = folder / "ch4_training_localization_transcription_gt" / f"gt_img_{number}.txt"
        text.parent.mkdir(exist_ok=True)
        text.write_text("10,10,50,10,50,30,10,30,word\n")
    return folder


def write_video(path: Path, frames: int = 3) -> Path:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (96, 64))
    for number in range(frames):
        writer.write(np.full((64, 96, 3), 40 * number, np.uint8))
    writer.release()
    return path


class TestRefuseOverlap:
    def test_the_same_path_however_it_is_written(self, tmp_path, monkeypatch):
        data = tmp_path / "data"
        data.mkdir()
        (tmp_path / "link").symlink_to(data)
        monkeypatch.chdir(tmp_path)
        for same in (data, "data", "./data/", tmp_path / "link", tmp_path / "link" / ".." / "data"):
            with pytest.raises(UserError, match=r"the folder of the input .*give another path"):
                refuse_overlap([same], [data])

    def test_files_that_are_links_or_hard_links_of_an_input(self, tmp_path):
        photo = write_picture(tmp_path / "photo.png")
        os.link(photo, tmp_path / "hard.png")
        (tmp_path / "soft.png").symlink_to(photo)
        for name in ("photo.png", "hard.png", "soft.png"):
            with pytest.raises(UserError, match="it is an input"):
                refuse_overlap([tmp_path / name], [photo])

    def test_inside_an_input_folder(self, tmp_path):
        (tmp_path / "data").mkdir()
        with pytest.raises(UserError, match="inside the input folder"):
            refuse_overlap([tmp_path / "data" / "new" / "deep"], [tmp_path / "data"])
        refuse_overlap([tmp_path / "data" / "new"], [tmp_path / "data"], inside=False)

    def test_what_is_permitted(self, tmp_path):
        (tmp_path / "data").mkdir()
        refuse_overlap([tmp_path / "out", None], [tmp_path / "data", None, tmp_path / "nowhere"])
        refuse_overlap([tmp_path], [tmp_path / "data"])
        refuse_overlap([tmp_path / "nowhere"], [tmp_path / "nowhere"])


class TestNames:
    @pytest.fixture
    def named(self, tmp_path):
        """Names of these sources in one folder, by a new object each time, as in one run after the other."""

        def name(*sources: str) -> list[str]:
            results = ResultFolder(tmp_path / "out", "test", r"res_(.+)\.txt")
            paths = [tmp_path / source for source in sources]
            found = results.name_sources(paths)
            results.save()
            return [found[path] for path in paths]

        return name

    def test_the_files_own_name(self, named):
        assert named("a.jpg", "deep/b.c.png") == ["a", "b.c"]

    def test_files_of_one_name(self, named):
        assert named("a/same.jpg", "b/same.jpg") == ["a__same", "b__same"]
        assert named("x/c/d.jpg", "y/c/d.jpg") == ["x__c__d", "y__c__d"]
        assert named("clip.avi", "clip.mp4") == ["clip.avi", "clip.mp4"]
        assert named("e/IMG.jpg", "f/img.jpg") == ["e__IMG", "f__img"]

    def test_names_stay_from_run_to_run(self, named):
        assert named("a/same.jpg") == ["same"]
        assert named("b/same.jpg") == ["b__same"] or named("b/same.jpg") == ["same.jpg"]
        first = named("b/same.jpg", "a/same.jpg")
        assert named("a/same.jpg", "b/same.jpg", "c/same.jpg")[:2] == first[::-1]
        assert len(set(named("a/same.jpg", "b/same.jpg", "c/same.jpg"))) == 3

    def test_files_of_others_keep_their_names(self, named, tmp_path):
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / "res_a.txt").write_text("mine")
        assert named("a.jpg") == ["a.jpg"]
        (tmp_path / "out" / "res_a.jpg.txt").write_text("written by this command")
        assert named("a.jpg") == ["a.jpg"]

    def test_links_to_one_picture_are_several(self, named, tmp_path):
        write_picture(tmp_path / "store" / "x.jpg")
        for name in ("a.jpg", "b.jpg"):
            (tmp_path / name).symlink_to(tmp_path / "store" / "x.jpg")
        assert named("a.jpg", "b.jpg") == ["a", "b"]

    def test_long_names_are_cut_and_differ(self, named):
        names = named("x" * 240 + "1.jpg", "x" * 240 + "2.jpg", "\u6587" * 80 + ".jpg")
        assert len(set(names)) == 3
        assert all(len(os.fsencode(name)) <= LONGEST_NAME for name in names)

    def test_recordings_get_a_new_name_each_time(self, tmp_path):
        for expected in ("camera0", "camera0-2", "camera0-3"):
            results = ResultFolder(tmp_path, "test", r"res_(.+)\.txt")
            assert results.name_sources(["camera0"]) == {"camera0": expected}
            results.save()

    def test_fixed_names_are_claimed(self, tmp_path):
        write_file(ResultFolder(tmp_path, "test").claim("index.html"), "one")
        write_file(ResultFolder(tmp_path, "test").claim("index.html"), "two")
        (tmp_path / "metrics.json").write_text("mine")
        with pytest.raises(UserError, match=r"metrics\.json: a file that is not of an earlier run"):
            ResultFolder(tmp_path, "test").claim("metrics.json")

    def test_a_damaged_list(self, tmp_path):
        for damaged in ("{", "[1]", '{"name": 3, "source": "a"}', "\0"):
            (tmp_path / ".test.results").write_text(damaged + "\n")
            with pytest.raises(UserError, match=r"\.test\.results: .* give another folder"):
                ResultFolder(tmp_path, "test")


class TestDataSetFolder:
    def test_a_new_folder_and_its_list(self, tmp_path):
        with data_set_folder(tmp_path / "deep" / "out") as folder:
            (folder / "a").mkdir()
            (folder / "a" / "b.txt").write_text("b")
        assert json.loads((folder / LIST).read_text()) == "a/b.txt"

    def test_a_used_folder_is_refused_or_replaced_as_a_whole(self, tmp_path):
        out = tmp_path / "out"
        with data_set_folder(out):
            (out / "old").mkdir()
            (out / "old" / "a.txt").write_text("a")
        (out / "old" / "gt.mat.index").write_text("written by a training")
        with pytest.raises(UserError, match=r"something in it already.*--replace"), data_set_folder(out):
            raise AssertionError
        with data_set_folder(out, replace=True) as folder:
            assert visible(folder) == set()
            assert visible(out) == {"old"}
            (folder / "new.txt").write_text("new")
        assert visible(out) == {"new.txt"}
        assert [path.name for path in tmp_path.iterdir()] == ["out"]
        assert json.loads((out / LIST).read_text()) == "new.txt"

    def test_after_an_error_the_earlier_data_set_is_unchanged(self, tmp_path, icdar, run_script, refuses):
        (tmp_path / "link").symlink_to(tmp_path / "out")
        line = ("-m", "tools.convert", icdar, tmp_path / "link", "--to", "labelme")
        (tmp_path / "out").mkdir()
        run_script(*line)
        before = contents(tmp_path / "out")
        (icdar / "ch4_training_images" / "img_3.jpg").write_bytes(b"")
        refuses(*line, "--replace", parts=["img_3.jpg", "repair the image or remove it"])
        assert contents(tmp_path / "out") == before
        (icdar / "ch4_training_images" / "img_3.jpg").unlink()
        run_script(*line, "--replace")
        assert len(contents(tmp_path / "out")) == len(before) - 2
        assert (tmp_path / "link").is_symlink()
        assert {path.name for path in tmp_path.iterdir()} == {"icdar", "link", "out"}

    def test_files_of_others_are_never_removed(self, tmp_path):
        with data_set_folder(tmp_path):
            (tmp_path / "a.txt").write_text("a")
        (tmp_path / "mine.txt").write_text("mine")
        before = contents(tmp_path)
        with pytest.raises(UserError, match=r"mine\.txt was not written by a tool"):
            data_set_folder(tmp_path, replace=True).__enter__()
        (tmp_path / LIST).unlink()
        with pytest.raises(UserError, match="not written by a tool"):
            data_set_folder(tmp_path, replace=True).__enter__()
        assert contents(tmp_path) == {name: data for name, data in before.items() if name != LIST}

    def test_an_input_in_the_folder_is_not_removed(self, tmp_path):
        out = tmp_path / "out"
        with data_set_folder(out):
            write_picture(out / "images" / "a.jpg")
        (tmp_path / "link").symlink_to(out / "images")
        with pytest.raises(UserError, match="would be removed"):
            data_set_folder(out, [tmp_path / "link"], replace=True).__enter__()
        assert (out / "images" / "a.jpg").is_file()

    def test_after_an_error_it_can_be_replaced(self, tmp_path):
        with pytest.raises(KeyboardInterrupt), data_set_folder(tmp_path / "out"):
            (tmp_path / "out" / "half.txt").write_text("half")
            raise KeyboardInterrupt
        with data_set_folder(tmp_path / "out", replace=True) as folder:
            assert visible(folder) == set()


def test_a_line_is_appended_with_bytes_that_are_not_utf_8(tmp_path):
    line = json.dumps({"source": os.fsdecode(b"caf\xe9.jpg"), "text": "é"}, ensure_ascii=False)
    append_line(tmp_path / "a.jsonl", line)
    append_line(tmp_path / "a.jsonl", line)
    lines = (tmp_path / "a.jsonl").read_text(encoding="utf-8").splitlines()
    assert [os.fsencode(json.loads(each)["source"]) for each in lines] == [b"caf\xe9.jpg"] * 2


def test_a_file_replaces_a_link_and_not_what_it_leads_to(tmp_path):
    (tmp_path / "photo").write_text("photo")
    (tmp_path / "link").symlink_to(tmp_path / "photo")
    os.link(tmp_path / "photo", tmp_path / "hard")
    (tmp_path / "new").write_text("new")
    write_file(tmp_path / "link", "text")
    copy_file(tmp_path / "new", tmp_path / "hard")
    assert [(tmp_path / name).read_text() for name in ("photo", "link", "hard")] == ["photo", "text", "new"]


class TestSplit:
    LINE = ("-m", "tools.split_icdar")

    def test_into_its_own_folder(self, icdar, tmp_path, refuses):
        before = contents(icdar)
        (tmp_path / "link").symlink_to(icdar)
        for out in (icdar, tmp_path / "link", icdar / "out", icdar / "ch4_training_images"):
            refuses(*self.LINE, icdar, out, "--train", 2, parts=["input", "give"])
        assert contents(icdar) == before

    def test_twice_into_one_folder(self, icdar, tmp_path, refuses, run_script):
        out = tmp_path / "out"
        run_script(*self.LINE, icdar, out, "--train", 3)
        before = contents(out)
        refuses(*self.LINE, icdar, out, "--train", 2, parts=["something in it already", "--replace"])
        assert contents(out) == before
        run_script(*self.LINE, icdar, out, "--train", 1, "--replace")
        train, test = (visible(out / part) for part in ("ch4_training_images", "ch4_test_images"))
        assert train == {"img_1.jpg"}
        assert test == {"img_2.jpg", "img_3.jpg", "img_4.jpg"}

    def test_an_image_without_text_is_left_out(self, icdar, tmp_path, run_script):
        (icdar / "ch4_training_localization_transcription_gt" / "gt_img_2.txt").unlink()
        process = run_script(*self.LINE, icdar, tmp_path / "out", "--train", 2)
        assert "2 training and 1 test images" in process.stdout
        assert "1 images without annotation" in process.stdout
        assert all(path.exists() for path in (tmp_path / "out").rglob("*"))


class TestDetect:
    @pytest.fixture
    def line(self, small_checkpoint):
        start = ("detect.py", "--pretrain-model", small_checkpoint, "--short-side", 64, "--score-threshold", 0.05)
        return (*start, "--output-dir")

    def test_into_its_input_folder(self, tmp_path, line, refuses):
        write_picture(tmp_path / "in" / "a.jpg")
        (tmp_path / "link").symlink_to(tmp_path / "in")
        before = contents(tmp_path / "in")
        for out in (tmp_path / "in", tmp_path / "link"):
            refuses(*line, out, tmp_path / "in", parts=["it is the folder of the input", "give another path"])
        assert contents(tmp_path / "in") == before

    def test_files_of_others_stay_and_every_input_has_its_results(self, tmp_path, line, run_script):
        """One run of inputs that would share names: sub-folders, a video and its frames, the user's own file."""
        for name in ("a/same.jpg", "b/same.jpg", "c/mine.jpg"):
            write_picture(tmp_path / name, 64, 96)
        video = write_video(tmp_path / "clip.avi")
        write_picture(tmp_path / "frames" / "clip_000000.jpg", 64, 96)
        odd = Path(os.fsdecode(os.fsencode(tmp_path) + b"/odd/caf\xe9.jpg"))
        long = tmp_path / "odd" / f"{'x' * 246}.jpg"
        odd.parent.mkdir()
        for path in (odd, long):
            shutil.copyfile(tmp_path / "a" / "same.jpg", path)
        pages = tmp_path / "odd" / "pages.tif"
        assert cv2.imwritemulti(str(pages), [np.full((64, 96, 3), 90, np.uint8)] * 3)
        out = tmp_path / "out"
        out.mkdir()
        own = write_picture(out / "det_mine.jpg", 30, 30).read_bytes()
        inputs = [tmp_path / name for name in ("a", "b", "c", "frames", "odd")]
        process = run_script(*line, out, *inputs, video)
        assert "in 10 frames" in process.stdout
        assert "1 files of several pictures" in process.stdout
        assert "pages.tif: 3 pictures" in process.stdout
        pictures = {os.fsencode(path.name) for path in out.glob("det_*.jpg")}
        assert own == (out / "det_mine.jpg").read_bytes()
        expected = {b"det_a__same.jpg", b"det_b__same.jpg", b"det_mine.jpg", b"det_mine.jpg.jpg", b"det_pages.jpg"}
        assert expected | {b"det_caf\xe9.jpg"} < pictures
        assert len(pictures) == 8  # and the frame's and the long name's
        texts = {path.name for path in out.glob("res_*.txt")}
        assert len(texts) == 7 + 3
        assert {f"res_clip_{number:06}.txt" for number in range(3)} < texts
        before = contents(out)
        run_script(*line, out, *reversed(inputs), video)
        assert contents(out).keys() == before.keys()
        assert {name: data for name, data in contents(out).items() if name.endswith(".txt")} == {
            name: data for name, data in before.items() if name.endswith(".txt")
        }

    def test_a_rerun_with_other_frames_replaces_those_of_the_run_before(self, tmp_path, line, run_script, refuses):
        """Only this input's, and nothing that detect.py does not write."""
        video, other = write_video(tmp_path / "clip[1].avi", 5), write_video(tmp_path / "clip[1]_2.avi", 2)
        out = tmp_path / "out"
        run_script(*line, out, video, other)
        for name in ("clip[1]_2.txt", "clip[1]_0000001.txt", "clip[1]_000001.txt.bak", "clip1_000001.txt"):
            (out / f"res_{name}").write_text("mine\n")
        others = visible(out) - {f"res_clip[1]_{number:06}.txt" for number in range(5)}
        before = {path.name: path.stat().st_mtime_ns for path in out.iterdir()}
        run_script(*line, out, "--every", 3, "--no-pictures", video)
        assert visible(out) == others | {f"res_clip[1]_{number:06}.txt" for number in (0, 3)}
        assert all((out / name).stat().st_mtime_ns == before[name] for name in others)
        video.write_bytes(b"no video any more")
        refuses(*line, out, video, parts=["none of the 1 inputs"])
        assert visible(out) == others | {f"res_clip[1]_{number:06}.txt" for number in (0, 3)}

    def test_its_own_results_as_inputs(self, tmp_path, line, run_script, refuses):
        """`detect.py *.jpg --output-dir .` twice: the second time det_a.jpg is an input and a result."""
        photo = write_picture(tmp_path / "a.jpg", 64, 96)
        run_script(*line, tmp_path, photo)
        before = contents(tmp_path)
        refuses(*line, tmp_path, photo, tmp_path / "det_a.jpg", parts=["det_a.jpg: it is an input"])
        assert contents(tmp_path) == before

    def test_json_lines_of_others(self, tmp_path, line, refuses):
        photo = write_picture(tmp_path / "a.jpg")
        (tmp_path / "detections.jsonl").write_text("mine\n")
        refuses(*line, tmp_path, "--format", "jsonl", photo, parts=["detections.jsonl: a file that is not of an"])
        assert (tmp_path / "detections.jsonl").read_text() == "mine\n"

    def test_json_lines_of_an_earlier_run_stay_until_there_are_others(self, tmp_path, line, run_script, refuses):
        photo, lines = write_picture(tmp_path / "a.jpg", 64, 96), tmp_path / "out" / "detections.jsonl"
        line = (*line, lines.parent, "--format", "jsonl")
        run_script(*line, photo)
        before = lines.read_text()
        assert before.count("\n") == 1
        (tmp_path / "cut.jpg").write_bytes(b"\xff\xd8 cut")
        refuses(*line, tmp_path / "cut.jpg", parts=["none of the 1 inputs"])
        refuses(*line, photo, lines.parent / "det_a.jpg", parts=["det_a.jpg: it is an input"])
        assert lines.read_text() == before
        run_script(*line, "--score-threshold", 1, photo)
        assert lines.read_text().endswith('"words": []}\n')
        assert lines.read_text().count("\n") == 1


class TestReport:
    @pytest.fixture
    def line(self, small_checkpoint):
        return ("test_sample.py", "--pretrain-model", small_checkpoint, "--prune", "--short-side", 64)

    def test_into_the_test_images(self, rendered, tmp_path, line, refuses):
        data = tmp_path / "frames"
        shutil.copytree(rendered / "frames", data)
        before = contents(data)
        for out in (data, data / "test_images1", data / "test_images1" / "new"):
            refuses(*line, "--test-folder-sample", data, "--output-dir", out, parts=["input", "give"])
        assert contents(data) == before

    def test_an_earlier_report_is_replaced_and_other_files_stay(self, tmp_path, rendered, line, run_script, refuses):
        data, out = tmp_path / "data", tmp_path / "out"
        images, texts = data / "test_images1", data / "sample_test_annotation_txt"
        for folder in ("a", "b"):
            write_picture(images / folder / "same.jpg")
            (texts / folder).mkdir(parents=True)
            (texts / folder / "same.txt").write_text("10,10,50,10,50,30,10,30,word\n")
        own = write_picture(out / "frame0000.jpg").read_bytes()
        run_script(*line, "--test-folder-sample", rendered / "frames", "--output-dir", out)
        assert (out / "frame0000.jpg").read_bytes() == own
        assert {"frame0000.jpg.jpg", "frame0001.jpg", "index.html", "metrics.json"} <= visible(out)
        run_script(*line, "--test-folder-sample", data, "--output-dir", out)
        report = {"index.html", "metrics.json", *(f"{name}__same.jpg" for name in "ab")}
        assert visible(out) == report | {"frame0000.jpg", *(f"res_{name}__same.txt" for name in "ab")}
        assert (out / "frame0000.jpg").read_bytes() == own
        (tmp_path / "mine").mkdir()
        (tmp_path / "mine" / "index.html").write_text("mine")
        parts = ["index.html: a file that is not of an earlier run"]
        refuses(*line, "--test-folder-sample", data, "--output-dir", tmp_path / "mine", parts=parts)

    def test_names_that_are_not_utf_8_on_the_page(self, tmp_path):
        results = report_folder(tmp_path)
        source = Path(os.fsdecode(b"/data/caf\xe9.jpg"))
        name = results.name_sources([source])[source]
        assert os.fsencode(name) == b"caf\xe9"
        page = render_page([FrameScore(source.name, f"{name}.jpg", Evaluation.from_counts(1, 1, 1))], {}, "")
        page.encode("utf-8")
        assert "caf%E9.jpg" in page
        assert r"caf\xe9.jpg" in page


class TestOthers:
    def test_training_and_pruning_into_their_data(self, rendered, small_checkpoint, refuses):
        frames = rendered / "frames"
        before = contents(frames)
        parts = ["it is the folder of the input", "give another path"]
        refuses("train_sample.py", "--train-folder-sample", frames, "--save-dir", frames, parts=parts)
        start = ("prune.py", "--pretrain-model", small_checkpoint, "--train-folder-sample", frames)
        refuses(*start, "--save-dir", frames, parts=parts)
        assert contents(frames) == before

    def test_pruning_over_its_checkpoint_or_plan(self, tmp_path, small_checkpoint, refuses):
        shutil.copyfile(small_checkpoint, tmp_path / "pruned.pt")
        refuses("prune.py", "--pretrain-model", tmp_path / "pruned.pt", "--save-dir", tmp_path, parts=["an input"])
        (tmp_path / "pruned.pt").unlink()
        (tmp_path / "plan.json").write_text("{}")
        line = ("prune.py", "--pretrain-model", small_checkpoint, "--save-dir", tmp_path)
        refuses(*line, "--plan", tmp_path / "plan.json", parts=["an input"])
        refuses(*line, "--sparsity", 0.5, parts=["plan.json: a file that is not of an earlier run"])
        assert (tmp_path / "plan.json").read_text() == "{}"

    def test_pruning_in_steps_over_its_checkpoint(self, tmp_path, rendered, small_checkpoint, refuses):
        steps = ("--steps", 3, "--", "--train-folder-sample", rendered / "frames", "--epoch", 1)
        for number in (1, 2):
            folder = tmp_path / f"step{number}"
            folder.mkdir()
            shutil.copyfile(small_checkpoint, folder / "pruned.pt")
            before = contents(tmp_path)
            line = ("prune.py", "--pretrain-model", folder / "pruned.pt", "--save-dir", tmp_path)
            refuses(*line, *steps, parts=[folder / "pruned.pt", "it is an input", "give another path"])
            assert contents(tmp_path) == before

    def test_publishing_over_the_checkpoint(self, tmp_path, small_checkpoint, refuses):
        os.link(small_checkpoint, tmp_path / "hard.pt")
        refuses("-m", "tools.publish", small_checkpoint, tmp_path / "hard.pt", parts=["it is an input"])

    def test_curves_over_the_table(self, tmp_path, refuses):
        (tmp_path / "results.csv").write_text("epoch,lr\n1,0.1\n")
        refuses("-m", "tools.plot_curves", tmp_path, "--to", tmp_path / "results.csv", parts=["it is an input"])

    def test_sheets_of_samples(self, rendered, tmp_path, refuses):
        frames = rendered / "frames"
        line = ("-m", "tools.inspect_data", frames, "--samples", 1, "--out")
        refuses(*line, frames, parts=["the folder of the input"])
        refuses(*line, frames / "train_images1", parts=["the folder of the input"])
        (tmp_path / "sheet_1.png").write_text("mine")
        refuses(*line, tmp_path, parts=["sheet_1.png: a file that is not of an earlier run"])

    def test_frames_of_videos_of_one_name(self, tmp_path, run_script):
        out = tmp_path / "out"
        own = write_picture(out / "clip_000000.jpg").read_bytes()
        for folder in ("a", "b"):
            (tmp_path / folder).mkdir()
            write_video(tmp_path / folder / "clip.avi")
            run_script("-m", "tools.extract_frames", tmp_path / folder / "clip.avi", "--every", 2, "--out", out)
        names = {"clip.avi_000000.jpg", "clip.avi_000002.jpg", "b__clip_000000.jpg", "b__clip_000002.jpg"}
        assert visible(out) == names | {"clip_000000.jpg"}
        assert (out / "clip_000000.jpg").read_bytes() == own

    def test_rendering_into_a_used_folder(self, tmp_path, refuses, run_script):
        line = ("-m", "tools.render", "--images", 1, "--workers", 1, "--size", 64, 96, "--out", tmp_path / "out")
        write_picture(tmp_path / "out" / "1" / "render_0.jpg")
        refuses(*line, parts=["there is something in it already"])
        refuses(*line, "--replace", parts=["not written by a tool"])
        shutil.rmtree(tmp_path / "out")
        run_script(*line)
        run_script(*line, "--replace")
        refuses("-m", "tools.demo_data", "--out", tmp_path / "out", parts=["something in it already"])

    def test_converting_names_that_are_not_utf_8(self, tmp_path, run_script):
        start = os.fsencode(tmp_path / "in")
        images, texts = start + b"/train_images1", start + b"/sample_train_annotation_txt"
        photo = write_picture(tmp_path / "a.jpg")
        for folder in (images, texts):
            os.makedirs(folder)
        shutil.copyfile(photo, images + b"/caf\xe9.jpg")
        Path(os.fsdecode(texts + b"/caf\xe9.txt")).write_text("10,10,50,10,50,30,10,30,word\n")
        for to in ("gt.mat", "txt", "labelme", "coco", "yolo", "cvat", "ppocrlabel"):
            out = tmp_path / to
            process = run_script("-m", "tools.convert", tmp_path / "in", out, "--to", to)
            assert "1 images whose names are not UTF-8, renamed" in process.stdout
            assert [path.name for path in out.rglob("*.jpg")] == ["caf%E9.jpg"]
            assert all(path.exists() for path in out.rglob("*.jpg"))
