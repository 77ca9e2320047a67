"""Teachers for scripts/repro_speech_codec.py: a small speech model, trained on the training speakers, and a language model."""

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import ctc_loss
from torch.nn.utils.rnn import pad_sequence

from hf_tokext.losses.reconstruction import log_mel
from hf_tokext.models.speech_codec.teachers import ctc_spans, lm_features

WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
LETTERS = "-" + "".join(sorted(set("".join(WORDS))))  # "-" is the blank


class Listener(nn.Module):
    """Letters of digits out of log mel spectra, 50 times a second; its states are what the codec learns from."""

    def __init__(self, width: int = 48) -> None:
        super().__init__()
        self.gru = nn.GRU(80, width, 2, batch_first=True, bidirectional=True)
        self.head = nn.Linear(2 * width, len(LETTERS))

    def forward(self, spectra: Tensor) -> tuple[Tensor, Tensor]:
        """Of [B, T, 80]: states [B, T, 2 * width] and logarithms of probabilities [B, T, letters]."""
        states = self.gru(spectra)[0]
        return states, self.head(states).log_softmax(-1)


def spectra(wave: Tensor, hop: int) -> Tensor:
    """Log mel spectra of a sound at the codec's places, [T, 80]."""
    frames = -(-len(wave) // hop)
    found = log_mel(wave[None], 8000, 4 * hop, bands=80)[0].T  # moves by a quarter of the window: by a hop
    return (found[:frames] + 6) / 2


def trained_listener(waves: list[Tensor], digits: list[int], hop: int, steps: int, seed: int) -> Listener:
    """Train it on sounds of digits."""
    torch.manual_seed(seed)
    model = Listener()
    inputs = [spectra(wave, hop) for wave in waves]
    optimizer = torch.optim.AdamW(model.parameters(), lr=4e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=steps)
    for _ in range(steps):
        drawn = torch.randint(len(waves), (32,)).tolist()
        lengths = torch.tensor([len(inputs[at]) for at in drawn])
        said = [torch.tensor([LETTERS.index(letter) for letter in WORDS[digits[at]]]) for at in drawn]
        scores = model(pad_sequence([inputs[at] for at in drawn], batch_first=True))[1]
        loss = ctc_loss(
            scores.transpose(0, 1), torch.cat(said), lengths, torch.tensor([len(each) for each in said]),
            zero_infinity=True,
        )  # fmt: skip
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    return model.eval()


@torch.no_grad()
def heard(model: Listener, wave: Tensor, digit: int, hop: int) -> tuple[Tensor, tuple[int, int], bool]:
    """States [T, D], the places of the word, and whether the likeliest of the ten words is the right one."""
    states, scores = model(spectra(wave, hop)[None])
    ids = [[LETTERS.index(letter) for letter in word] for word in WORDS]
    spans = ctc_spans(scores[0], ids[digit])
    losses = [
        float(ctc_loss(scores[0][:, None], torch.tensor([each]), [len(scores[0])], [len(each)], reduction="sum"))
        for each in ids
    ]
    return states[0], (spans[0][0], spans[-1][1]), losses[digit] == min(losses)


def word_vectors(folder: Path) -> list[Tensor]:
    """A language model's vector of each digit, as a word."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)
    return [lm_features(model, tokenizer, [word], 1, [(0, 1)])[0].clone() for word in WORDS]
