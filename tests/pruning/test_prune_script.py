"""prune.py on its command line: targets, plans, frames, steps, reports, refused options."""

import csv
import json
import os
import re
import signal
import subprocess
import sys

import pytest
import torch
from torch import nn

import prune as script
from model import FOTSModel
from model_pruned import FOTSModelPruned
from tests.conftest import ROOT
from utils.checkpoint import load_model, restore_optimizer, save_checkpoint
from utils.errors import UserError
from utils.network.channels import ORIGINAL_PLAN, uniform_plan
from utils.network.cost import PlanCosts, count_macs, count_parameters, measure_cost, peak_memory
from utils.pruning import gradual
from utils.pruning.optimizer_state import select_optimizer
from utils.pruning.selection import Rules, choose_share


@pytest.fixture(scope="module")
def view(rendered) -> list:
    folders = ["--train-folder-sample", rendered / "frames"]
    return [*folders, "--recalibrate", 8, "--batch-size", 4, "--short-side", 96, "--crop", 96]


def plan_in(folder) -> dict[str, int]:
    plan = json.loads((folder / "plan.json").read_text())
    assert load_model(folder / "pruned.pt")[0].plan == plan
    return plan


@pytest.fixture
def prune(small_checkpoint, tmp_path, capfd, monkeypatch):
    """Run prune.py in this process; returns the plan that it wrote."""

    def run(*line, checkpoint=small_checkpoint, folder="out") -> dict[str, int]:
        words = ["--pretrain-model", checkpoint, "--save-dir", tmp_path / folder, "--size", 64, 64, *line]
        script.main(script.parse_args([str(word) for word in words]))
        return plan_in(tmp_path / folder)

    return run


def test_a_pruned_checkpoint_is_pruned_again(prune, tmp_path, small_plan, small_checkpoint):
    once = prune("--sparsity", 0.5)
    assert once == {group: width if group == "remove_artifacts" else width // 2 for group, width in small_plan.items()}
    twice = prune("--prune-remove-artifacts", checkpoint=tmp_path / "out" / "pruned.pt", folder="again")
    assert twice["encoder3"] == 4
    assert twice["remove_artifacts"] == 2
    before, after = (load_model(path)[0] for path in (small_checkpoint, tmp_path / "again" / "pruned.pt"))
    assert torch.equal(before.conv1[0].weight[after.origin.kept["encoder1"]], after.conv1[0].weight)
    assert after.origin.within(load_model(tmp_path / "out" / "pruned.pt")[0].origin)


@pytest.mark.parametrize("scope", ["layer", "global"])
def test_targets_are_of_the_original(prune, scope):
    """The narrow network has 0.39 % of the original's MACs; a third of that is asked for."""
    costs = PlanCosts(FOTSModel(), 64, 64)
    for option, cost in (("--target-macs", costs.macs), ("--target-params", costs.parameters)):
        plan = prune(option, 0.0015, "--scope", scope, "--prune-remove-artifacts")
        assert 0.0012 < cost(plan) / cost(ORIGINAL_PLAN) <= 0.0015


def test_a_target_in_milliseconds_is_measured(prune, tmp_path, capfd):
    """Half of the time that the network takes here on one thread; repeated where other programs slow the machine."""
    model = FOTSModelPruned(uniform_plan(0.25)).eval()
    save_checkpoint(tmp_path / "wide.pt", model)
    for attempt in range(4):
        target = measure_cost(model, 192, 192)["milliseconds_1_thread"] / 2
        options = "--target-latency", target, "--threads", 1, "--size", 192, 192
        try:
            plan = prune(*options, checkpoint=tmp_path / "wide.pt")
            break
        except UserError as error:
            assert attempt < 3, error
    assert sum(plan.values()) < sum(model.plan.values())
    assert f"  {sum(plan.values()):,} channels: " in capfd.readouterr().out


def test_a_target_in_milliseconds_of_the_exported_network(prune, capfd):
    """The time of an int8 file is measured; any network is fast enough."""
    pytest.importorskip("onnxscript")
    line = ("--target-latency", 1e5, "--backend", "onnxruntime", "--int8", "--size", 64, 96, "--threads", 1)
    with pytest.raises(UserError, match="removes no channel"):
        prune(*line)
    printed = capfd.readouterr().out
    assert "measuring with onnxruntime, int8" in printed
    assert len(re.findall(r" channels: [\d.]+ ms", printed)) == 2


def test_widths_are_multiples_and_not_below(prune):
    plan = prune("--sparsity", 0.75, "--round-to", 4, "--min-channels", 6)
    assert {plan["encoder4"], plan["encoder3"], plan["encoder1"]} == {8, 4}


def test_a_plan_is_applied(prune, tmp_path, small_plan, refuses, small_checkpoint):
    asked = small_plan | {"encoder2": 3, "center.1": 11}
    (tmp_path / "asked.json").write_text(json.dumps(asked))
    assert prune("--plan", tmp_path / "asked.json") == asked
    (tmp_path / "wide.json").write_text(json.dumps(small_plan | {"encoder2": 9}))
    line = ("prune.py", "--pretrain-model", small_checkpoint, "--save-dir", tmp_path)
    refuses(*line, "--plan", tmp_path / "wide.json", parts=["encoder2", "9", "8"])


def test_with_frames_everything_is_measured(prune, view, rendered, tmp_path, capfd):
    pytest.importorskip("matplotlib")
    test = ["--test-folder-sample", rendered / "frames", "--val-short-side", 96]
    prune("--criterion", "taylor", "--scope", "global", "--chart", *view, *test)
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    before, pruned, recalibrated = (report["networks"][name] for name in ("before", "pruned", "recalibrated"))
    assert {"hmean", "loss", "milliseconds_1_thread", "milliseconds_2_threads", "peak_memory_bytes"} <= set(before)
    assert pruned["macs"] < before["macs"]
    printed = capfd.readouterr().out
    assert "recalibrated" in printed
    assert (recalibrated["loss"] == pruned["loss"]) == ("BatchNorm statistics are kept" in printed)
    assert (tmp_path / "out" / "channels.png").stat().st_size > 1000


def test_obs_is_run_with_training_frames(prune, view, small_plan):
    plan = prune("--criterion", "obs", "--sparsity", 0.25, *view)
    assert plan["encoder4"] == small_plan["encoder4"] * 3 // 4


def test_every_group_is_analysed(small_checkpoint, view, tmp_path, capfd):
    pytest.importorskip("matplotlib")
    line = ["--pretrain-model", small_checkpoint, "--save-dir", tmp_path, "--analyse", *view]
    script.main(script.parse_args([str(word) for word in line]))
    assert "half of it removed" in capfd.readouterr().out
    with open(tmp_path / "analysis.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["group"] for row in rows[::3]] == list(ORIGINAL_PLAN)
    assert all(float(row["loss"]) > 0 for row in rows)
    assert (tmp_path / "analysis.png").stat().st_size > 1000
    assert not (tmp_path / "pruned.pt").exists()


def test_steps_fine_tune_in_between(small_checkpoint, view, rendered, tmp_path, run_script):
    line = ("prune.py", "--pretrain-model", small_checkpoint, "--save-dir", tmp_path, "--sparsity", 0.75, *view)
    training = ("--train-folder-sample", rendered / "frames", "--short-side", 96, "--crop", 96, "--epoch", 1,
                "--batch-size", 4, "--num-workers", 0)  # fmt: skip
    run_script(*line, "--steps", 2, "--", *training)
    assert load_model(tmp_path / "step1" / "last.pt")[0].plan["encoder3"] == 8
    assert plan_in(tmp_path)["encoder3"] == 4


def test_a_stop_between_the_steps_ends_the_fine_tuning(tmp_path, monkeypatch):
    """A signal to prune.py alone, as `kill` and `timeout` send it: no training may be left behind."""
    training = tmp_path / "training.py"
    training.write_text(
        "import os, signal, sys, time\n"
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(75))\n"
        "os.kill(os.getppid(), signal.SIGTERM)\n"
        "time.sleep(60)\n"
    )
    monkeypatch.setattr(gradual, "_SCRIPT", training)
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(UserError, match="exit code 75"):
        gradual.fine_tune(tmp_path / "pruned.pt", [], tmp_path)
    assert signal.getsignal(signal.SIGTERM) == before


def adam_after_steps(model, groups, steps=2) -> torch.optim.Adam:
    optimizer = torch.optim.Adam(groups, lr=0.1)
    generator = torch.Generator().manual_seed(0)
    for _ in range(steps):
        for parameter in model.parameters():
            parameter.grad = torch.randn(parameter.shape, generator=generator)
        optimizer.step()
    return optimizer


@pytest.mark.parametrize("kind", ["ours", "two groups", "earlier"])
def test_the_optimizer_state_of_kept_channels_is_saved(small_plan, kind):
    """The kept channels have their moments; the learning rate is the new run's."""
    torch.manual_seed(0)
    model = FOTSModelPruned(small_plan)
    parameters = list(model.parameters())

    def grouped(network):
        values = list(network.parameters())
        flat = [parameter for parameter in values if parameter.dim() < 2]
        deep = [parameter for parameter in values if parameter.dim() > 1]
        return [{"params": deep}, {"params": flat}] if kind == "two groups" else values

    groups = grouped(model)
    if kind == "earlier":
        groups = [*parameters[:108], torch.zeros(9, 9).requires_grad_(), torch.zeros(9).requires_grad_()]
        groups += parameters[108:]
    source = adam_after_steps(model, groups)
    kept = choose_share({g: torch.rand(w) for g, w in small_plan.items()}, 0.5, Rules(kept_groups=()))
    state, reason = select_optimizer(source.state_dict(), model, kept)
    assert reason is None
    pruned = FOTSModelPruned({group: len(channels) for group, channels in kept.items()})
    optimizer = torch.optim.Adam(grouped(pruned), lr=0.003)
    assert restore_optimizer(optimizer, state) is None
    assert optimizer.param_groups[0]["lr"] == 0.003
    old, new = dict(model.named_parameters()), dict(pruned.named_parameters())
    for name in ("exp_avg", "exp_avg_sq"):
        whole = source.state[old["decoder3.squeeze.0.weight"]][name]
        channels = torch.cat([kept["encoder4"], small_plan["encoder4"] + kept["decoder4.squeeze"]])
        expected = whole[kept["decoder3.squeeze"]][:, channels]
        assert torch.equal(optimizer.state[new["decoder3.squeeze.0.weight"]][name], expected)
        whole = source.state[old["encoder2.1.bn2.bias"]][name]
        assert torch.equal(optimizer.state[new["encoder2.1.bn2.bias"]][name], whole[kept["encoder2"]])
    assert optimizer.state[new["conv1.0.weight"]]["step"] == 2


def test_fine_tuning_resumes_the_optimizer_state(prune, tmp_path, small_plan, capfd):
    model = FOTSModelPruned(small_plan)
    optimizer = adam_after_steps(model, model.parameters())
    save_checkpoint(tmp_path / "a.pt", model, epoch=4, optimizer=optimizer.state_dict())
    prune(checkpoint=tmp_path / "a.pt")
    pruned, contents = load_model(tmp_path / "out" / "pruned.pt")
    assert restore_optimizer(torch.optim.Adam(pruned.parameters()), contents["optimizer"]) is None
    assert contents["epoch"] == 0


def test_costs_of_a_plan_are_those_of_its_network(small_plan):
    costs = PlanCosts(FOTSModel(), 64, 96)
    for network in (FOTSModel(), FOTSModelPruned(small_plan)):
        assert costs.macs(network.plan) == sum(count_macs(network, 64, 96).values())
        assert costs.parameters(network.plan) == count_parameters(network)


def test_peak_memory_is_of_the_largest_maps():
    """Of three convolutions: the image, and the second one's input and output, in float32."""
    convs = [nn.Conv2d(3, 8, 1), nn.ReLU(inplace=True), nn.Conv2d(8, 16, 1), nn.ReLU(inplace=True), nn.Conv2d(16, 2, 1)]
    network = nn.Sequential(*convs)
    assert peak_memory(network, 64, 96) - 4 * count_parameters(network) == 4 * 64 * 96 * (3 + 8 + 16)


def test_masked_checkpoints_are_exported(tmp_path, prune, small_plan, refuses, small_checkpoint):
    torch.manual_seed(0)
    model = FOTSModelPruned(small_plan).eval()
    model.center[0][0].weight.data[::2] = 0
    model.center[0][0].bias.data[::2] = 0
    save_checkpoint(tmp_path / "masked.pt", model)
    plan = prune("--zeroed", checkpoint=tmp_path / "masked.pt")
    assert plan == small_plan | {"center.0": small_plan["center.0"] // 2}
    pixels = torch.randn(1, 3, 96, 64)
    with torch.no_grad():
        ours, theirs = load_model(tmp_path / "out" / "pruned.pt")[0](pixels), model(pixels)
    assert all(torch.allclose(a, b, rtol=1e-4, atol=1e-4) for a, b in zip(ours, theirs, strict=True))
    line = ("prune.py", "--pretrain-model", small_checkpoint, "--save-dir", tmp_path)
    refuses(*line, "--zeroed", parts=["--zeroed", "removes no channel"])


def test_groups_are_shown(capfd, small_checkpoint):
    script.main(script.parse_args(["--show-groups", "--pretrain-model", str(small_checkpoint)]))
    assert "decoder3.squeeze.0[32:64]" in capfd.readouterr().out


def test_a_closed_pipe_ends_the_script_without_a_traceback():
    """As in `prune.py --show-groups | head -1`."""
    reading, writing = os.pipe()
    os.close(reading)
    line = [sys.executable, "prune.py", "--show-groups"]
    process = subprocess.run(line, cwd=ROOT, stdout=writing, stderr=subprocess.PIPE, text=True, timeout=60)
    os.close(writing)
    assert (process.returncode, process.stderr) == (141, "")


@pytest.mark.parametrize(
    ("line", "parts"),
    [
        (["--sparsity", 1], ["--sparsity", "0.999"]),
        (["--sparsity", "half"], ["'half'"]),
        (["--sparsity", 0], ["--sparsity 0", "no channel"]),
        (["--sparsity", 0.5, "--target-macs", 0.2], ["--sparsity", "--target-macs", "exclude"]),
        (["--target-macs", 0.9], ["--target-macs", "no channel"]),
        (["--target-macs", 1e-6], ["--target-macs", "out of reach"]),
        (["--target-latency", 0.011, "--size", 64, 64], ["--target-latency 0.011", "out of reach"]),
        (["--target-latency", 1e6, "--size", 64, 64], ["--target-latency", "no channel"]),
        (["--target-macs", 0.1, "--backend", "openvino"], ["--backend", "--target-latency"]),
        (["--target-latency", 9, "--int8"], ["--int8", "--backend"]),
        (["--target-latency", 9, "--backend", "openvino", "--size", 100, 128], ["--size 100 128", "multiples of 32"]),
        (["--criterion", "taylor"], ["taylor", "--train-folder-sample"]),
        (["--criterion", "obs"], ["obs", "--train-folder-sample"]),
        (["--crop", 96], ["--crop", "--train-folder-sample"]),
        (["--plan", "none.json"], ["none.json"]),
        (["--plan", "none.json", "--scope", "global"], ["--scope", "--plan"]),
        (["--zeroed", "--criterion", "l2"], ["--criterion", "--zeroed"]),
        (["--analyse"], ["--analyse", "frames"]),
        (["--steps", 2], ["--steps", "--"]),
        (["--", "--epoch", 1], ["--steps"]),
        (["--steps", 2, "--", "--train-folder-sample", "x", "--prune"], ["--prune"]),
        (["--steps", 2, "--", "--train-folder-sample", "x", "--auto-resume"], ["drop --auto-resume", "fine-tunes"]),
        (["--steps", 2, "--", "--train-folder-sample", "x", "--rejector", "--val"], ["drop --rejector"]),
        (["--steps", 2, "--", "--epoch", 0], ["--epoch"]),
        (["--val-short-side", 96], ["--val-short-side", "--test-folder-sample"]),
        (["--seed", 1], ["--seed", "random"]),
    ],
)
def test_contradicting_options_are_refused(tmp_path, small_checkpoint, refuses, line, parts):
    refuses("prune.py", "--pretrain-model", small_checkpoint, "--save-dir", tmp_path, *line, parts=parts)
