import json

import pytest
from PIL import Image

from hf_tokext.cli import main
from tests.training.test_codec import SMALL, folder_of


def run(capsys, *arguments):
    with pytest.raises(SystemExit) as ended:
        main([str(each) for each in arguments])
    said = capsys.readouterr()
    return ended.value.code, said.out, said.err


def test_train_encode_and_decode(tmp_path, capsys):
    data = folder_of("image", tmp_path / "data", 5)
    (data / "broken.png").write_bytes(b"\x89PNG")
    options = [f"--set={name}={json.dumps(value)}" for name, value in SMALL["image"].items()]
    code, out, err = run(capsys, "codec", "train", data, tmp_path / "codec", *options, "--steps", 3, "--batch", 2)
    assert code == 0, err
    assert "3 steps on 4 files of image, 1 held out" in out and "psnr" in out and "of 8 codes used" in out
    assert "left out: broken.png: " in out and "broken.png cannot be read" in out
    (data / "broken.png").unlink()

    (data / "z.png").write_bytes(b"\x89PNG")
    code, out, err = run(capsys, "codec", "encode", tmp_path / "codec", data, tmp_path / "codes.parquet")
    assert code == 0 and "left out: z.png: " in out and "codes of 5 files" in out
    code, out, err = run(capsys, "codec", "decode", tmp_path / "codec", tmp_path / "codes.parquet", tmp_path / "back")
    assert code == 0 and out.strip().endswith("back: 5 files")
    with Image.open(tmp_path / "back" / "a" / "03.png") as image:
        assert image.size == (16, 16)

    code, out, err = run(capsys, "measure", "codebook", tmp_path / "codes.parquet")
    assert code == 0, err
    head, line = out.splitlines()
    assert head.split()[:5] == ["table", "codebook", "codes", "counted", "used"] and line.split()[1:3] == ["0", "8"]
    code, out, err = run(capsys, "measure", "codebook", tmp_path / "codes.parquet", "--json")
    (use,) = json.loads(out)[str(tmp_path / "codes.parquet")]
    assert use["size"] == 8 and use["counted"] == int(line.split()[3]) and 0 < use["bits"] <= use["huffman_bits"]
    code, out, err = run(capsys, "measure", "codebook", data / "a" / "03.png")
    assert code == 1 and "cannot be read as parquet" in err and len(err.splitlines()) == 1


def test_what_is_wrong_is_said_in_one_line(tmp_path, capsys):
    code, _, err = run(capsys, "codec", "train", tmp_path / "none", tmp_path / "codec")
    assert code == 1 and err.startswith("tokext: there is no folder") and len(err.splitlines()) == 1
    code, _, err = run(capsys, "codec", "train", tmp_path, tmp_path / "codec", "--set", "image_size")
    assert code == 2 and "NAME=VALUE" in err
    code, _, err = run(capsys, "codec", "encode", tmp_path, tmp_path, tmp_path / "codes.parquet")
    assert code == 1 and "holds no codec" in err
