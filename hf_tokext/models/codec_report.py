"""Names of what a training leaves beside a codec, for those who write it and those who read it."""

REPORT = "hf_tokext_codec.json"
CURVES, SAMPLES = "hf_tokext_curves.png", "hf_tokext_samples.png"
