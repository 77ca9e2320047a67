"""Under `Trainer`, alone and against a discriminator."""

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModel, Trainer, TrainingArguments

from hf_tokext import AdversarialTraining, PeriodDiscriminator, SpectrumDiscriminator, SpeechCodecModel
from tests.models.speech_codec.small import HOP, small, sounds


def rows(count=12):
    return [
        {
            "input_values": sound[None],
            "padding_mask": (torch.arange(20 * HOP) < 15 * HOP).long(),
            "distill_lm": torch.ones(20, 5),
        }
        for sound in sounds(count, 20 * HOP)
    ]


def trainer(model, folder, steps=3, **options):
    arguments = TrainingArguments(
        output_dir=str(folder), max_steps=steps, per_device_train_batch_size=4, learning_rate=1e-3, save_steps=2,
        eval_strategy="steps", eval_steps=2, report_to=[], use_cpu=True, disable_tqdm=True, **options,
    )  # fmt: skip
    return Trainer(model, arguments, train_dataset=rows(), eval_dataset=rows(4))


def test_trainer_trains_evaluates_saves_and_goes_on(tmp_path):
    model = small(distill_lm_dim=5)
    before = [each.clone() for each in model.parameters()]
    run = trainer(model, tmp_path / "one", steps=4)
    run.train()
    assert all(not torch.equal(one, two) for one, two in zip(before, model.parameters(), strict=True) if two.ndim > 1)
    logged = [each["eval_loss"] for each in run.state.log_history if "eval_loss" in each]
    assert len(logged) == 2 and int(model.quantizer.steps.first.batches) == 4  # evaluation taught the codes nothing
    again = small(distill_lm_dim=5, seed=1)
    trainer(again, tmp_path / "two", steps=4).train(resume_from_checkpoint=str(tmp_path / "one" / "checkpoint-2"))
    for (name, one), two in zip(model.state_dict().items(), again.state_dict().values(), strict=True):
        torch.testing.assert_close(one, two, msg=name)


def judges():
    return torch.nn.ModuleList([SpectrumDiscriminator([32, 64], 4), PeriodDiscriminator([2, 3], 4)])


def test_each_learns_from_its_own_loss_alone():
    """The gradients of one backward pass are those of two, each for one of the two."""
    codec, judge = small("none"), SpectrumDiscriminator([32], 4)
    values = sounds(2, 20 * HOP)
    both = AdversarialTraining(codec, judge, adversarial_weight=0.5, feature_weight=0.0)
    output = both(values)
    output.loss.backward()
    assert {"adversarial", "features", "discriminator"} < set(output.losses)
    torch.testing.assert_close(output.loss.detach(), sum(output.losses.values()))
    made = codec(values)
    wanted = 0.5 * (1 - judge(made.reconstruction)[0][0]).square().mean() + made.loss
    of_codec = torch.autograd.grad(wanted, list(codec.parameters()))
    for each, one in zip(codec.parameters(), of_codec, strict=True):
        torch.testing.assert_close(each.grad, one, atol=1e-6, rtol=1e-3)
    told = (1 - judge(values)[0][0]).square().mean() + judge(made.reconstruction.detach())[0][0].square().mean()
    for each, one in zip(judge.parameters(), torch.autograd.grad(told, list(judge.parameters())), strict=True):
        torch.testing.assert_close(each.grad, one, atol=1e-6, rtol=1e-3)


def test_both_learn_with_discriminators_as_they_come():
    """Of the sizes that they have by default, on sounds with padding, which must not tell real from made."""
    torch.manual_seed(0)
    both = AdversarialTraining(
        small("rvq", lstm_layers=1), torch.nn.ModuleList([SpectrumDiscriminator(), PeriodDiscriminator()])
    )
    for each in both.codec.parameters():  # those that begin at nothing keep gradients from others
        each.data += 0.01 * torch.randn_like(each)
    values, mask = sounds(2, 1600), torch.ones(2, 1600, dtype=torch.long)
    mask[1, 803:] = 0  # within a place
    seen = []
    both.discriminator[0].register_forward_pre_hook(lambda _, given: seen.append(given[0].detach()))
    output = both(values[:, None], mask)
    output.loss.backward()
    assert all(float(output.losses[name]) > 0 for name in ("adversarial", "features", "discriminator"))
    for name, each in both.named_parameters():
        assert each.grad is not None and torch.isfinite(each.grad).all() and each.grad.abs().sum() > 0, name
    assert len(seen) == 3 and not any(each[1, 803:].any() for each in seen) and torch.equal(seen[0][0], values[0])
    assert both.eval()(values, return_loss=False).loss is None


def test_a_stopped_training_against_discriminators_goes_on(tmp_path):
    """A checkpoint holds both, and what an optimizer knows of them; what goes on ends where it would have ended."""

    def fresh(seed):
        torch.manual_seed(seed)
        return AdversarialTraining(small(distill_lm_dim=5, seed=seed), judges())

    whole, again = fresh(0), fresh(1)
    trainer(whole, tmp_path / "one", steps=4).train()
    saved = load_file(tmp_path / "one" / "checkpoint-2" / "model.safetensors")
    assert {name.partition(".")[0] for name in saved} == {"codec", "discriminator"}
    trainer(again, tmp_path / "two", steps=4).train(resume_from_checkpoint=str(tmp_path / "one" / "checkpoint-2"))
    for (name, one), two in zip(whole.state_dict().items(), again.state_dict().values(), strict=True):
        torch.testing.assert_close(one, two, msg=name)


def test_trainer_against_discriminators(tmp_path):
    torch.manual_seed(0)
    both = AdversarialTraining(small(distill_lm_dim=5), judges())
    before = {name: each.clone() for name, each in both.named_parameters()}
    run = trainer(both, tmp_path / "run")
    run.train()
    changed = {name.split(".")[0] for name, each in both.named_parameters() if not torch.equal(each, before[name])}
    assert changed == {"codec", "discriminator"} and any("eval_loss" in each for each in run.state.log_history)
    both.codec.save_pretrained(tmp_path / "codec")
    alone = AutoModel.from_pretrained(tmp_path / "codec")
    assert type(alone) is SpeechCodecModel and not [name for name in alone.state_dict() if "discriminator" in name]
    values = sounds(1, 5 * HOP)
    assert torch.equal(alone.encode(values).codes, both.codec.eval().encode(values).codes)


@pytest.mark.parametrize("which", [0, 1], ids=["spectrum", "period"])
def test_a_discriminator_learns_to_tell(which):
    torch.manual_seed(0)
    judge = judges()[which]
    time = torch.arange(400) / 8000
    tones = torch.sin(6.28 * 400 * time + torch.rand(8, 1) * 6.28)
    noise = torch.randn(8, 400)
    optimizer = torch.optim.Adam(judge.parameters(), 5e-3)
    for _ in range(60):
        optimizer.zero_grad()
        loss = sum(
            (1 - one).square().mean() + two.square().mean()
            for one, two in zip(judge(tones)[0], judge(noise)[0], strict=True)
        )
        loss.backward()
        optimizer.step()
    real, fake = (torch.stack([score.mean() for score in judge(each)[0]]).mean() for each in (tones, noise))
    assert real > fake + 0.5
