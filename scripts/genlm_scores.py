"""What genlm-bytes makes of a text, one byte at a time; run by bench_byteify.py in an environment of its own.

    python scripts/genlm_scores.py MODEL TEXT_FILE WARM_BYTES K:THRESHOLD...

Prints one JSON object a setting: bits per byte, processor and wall seconds, forward passes, all after the first
WARM_BYTES bytes, which are read before the clock starts.
"""

import asyncio
import json
import sys
import time
from pathlib import Path

import torch
from genlm.backend import load_model_by_name
from genlm.bytes import BeamParams, ByteBeamState


async def scored(model: object, text: bytes, warm: int, width: int, threshold: float) -> dict[str, float]:
    """Log probability of each byte, normalised at each, as genlm-bytes gives it."""
    passes = 0

    def count(*_: object) -> None:
        nonlocal passes
        passes += 1

    handle = model.model.register_forward_hook(count)
    model.clear_cache()
    beam = await ByteBeamState.initial(model, BeamParams(K=width, prune_threshold=threshold))
    nats = 0.0
    cpu = wall = 0.0
    for at, byte in enumerate(text):
        if at == warm:
            cpu, wall, passes = time.process_time(), time.perf_counter(), 0
        if at >= warm:
            nats -= float((await beam.logp_next())[byte])
        beam = await (beam.prune() << byte)
    found = {"cpu": time.process_time() - cpu, "wall": time.perf_counter() - wall, "passes": passes}
    await beam.cleanup()
    handle.remove()
    return found | {"bits": nats / (len(text) - warm) / 0.6931471805599453}


def main() -> None:
    """Score with every setting."""
    torch.set_num_threads(1)
    folder, file, warm, *settings = sys.argv[1:]
    model = load_model_by_name(folder, backend="hf", llm_opts={"hf_opts": {"torch_dtype": torch.float32}})
    for setting in settings:
        width, _, threshold = setting.partition(":")
        found = asyncio.run(scored(model, Path(file).read_bytes(), int(warm), int(width), float(threshold)))
        print(json.dumps({"setting": setting, **found}), flush=True)


if __name__ == "__main__":
    main()
