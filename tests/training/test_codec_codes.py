import json
import pickle

import numpy as np
import pyarrow as pa
import pytest
import soundfile
import torch
from datasets import load_dataset
from pyarrow import parquet

from hf_tokext import CodecError, MissingExtraError, OutputExistsError, decode_files, encode_files
from hf_tokext.measure.audio import resampled
from hf_tokext.training.codec_files import load_codec
from hf_tokext.training.modalities import MODALITIES, _window
from tests.models.audio_codec.test_audio_codec import made as upstream_codec
from tests.training.test_codec import SMALL, folder_of


@pytest.fixture
def made(tmp_path):
    data = folder_of("audio", tmp_path / "data", 5)
    codec, processor = MODALITIES["audio"].make(data / "b" / "00.wav", SMALL["audio"])
    codec.save_pretrained(tmp_path / "codec")
    processor.save_pretrained(tmp_path / "codec")
    return tmp_path


def test_codes_are_those_of_each_file_alone(made):
    codec, kind, processor = load_codec(made / "codec")
    encode_files(made / "codec", made / "data", made / "codes.parquet", batch=4)
    rows = load_dataset("parquet", data_files=str(made / "codes.parquet"), split="train", cache_dir=str(made / "cache"))
    assert rows["path"] == ["a/01.wav", "a/03.wav", "b/00.wav", "b/02.wav", "b/04.wav"]
    for row in rows:
        wave, rate = kind.read(made / "data" / row["path"])
        alone = codec.encode(**{"values": processor(wave, sampling_rate=rate)["input_values"]}).codes[0]
        assert row["codes"] == alone.tolist() and row["shape"] == [1, len(wave)]


def test_files_of_several_rates_and_channels_are_what_they_are_alone(made):
    wave = np.random.default_rng(0).normal(size=(1001, 2)) / 9
    soundfile.write(made / "data" / "b" / "0 12:30.wav", wave, 11025, "PCM_24")
    soundfile.write(made / "data" / "b" / "short.wav", wave[:3, 0], 8000)  # shorter than a place
    for batch in (1, 7):
        assert encode_files(made / "codec", made / "data", made / f"{batch}.parquet", batch=batch) == (7, {})
    assert parquet.read_table(made / "1.parquet").equals(parquet.read_table(made / "7.parquet"))
    shapes = {row["path"]: row["shape"] for row in parquet.read_table(made / "7.parquet").to_pylist()}
    assert shapes["b/0 12:30.wav"] == [1, 727] and shapes["b/short.wav"] == [1, 3]
    assert decode_files(made / "codec", made / "7.parquet", made / "back") == 7
    assert soundfile.info(made / "back" / "b" / "short.wav").frames == 3


@pytest.mark.parametrize("saved", ["wrapped", "upstream"])
def test_codecs_of_transformers_encode_folders_too(made, tmp_path, saved):
    """They hear padding, so each file goes by itself; they bring no processor of ours."""
    codec = upstream_codec("encodec")
    (codec if saved == "wrapped" else codec.codec).save_pretrained(tmp_path / "encodec")
    assert encode_files(tmp_path / "encodec", made / "data", tmp_path / "codes.parquet", batch=4) == (5, {})
    rows = parquet.read_table(tmp_path / "codes.parquet").to_pylist()
    wave, rate = MODALITIES["audio"].read(made / "data" / rows[0]["path"])
    assert rate == 8000 and rows[0]["shape"] == [1, 2 * len(wave)]  # the codec has 16,000 samples a second
    given = torch.from_numpy(resampled(wave, 8000, 16000).astype(np.float32))[None]
    assert rows[0]["codes"] == codec.encode(given).codes[0].tolist()
    assert decode_files(tmp_path / "encodec", tmp_path / "codes.parquet", tmp_path / "back", limit=1) == 1


@pytest.mark.long
def test_several_processes_give_the_same(made):
    for processes in (1, 2):
        seen = []
        encode_files(
            made / "codec", made / "data", made / f"{processes}.parquet", processes=processes, batch=2,
            progress=lambda *each, seen=seen: seen.append(each),
        )  # fmt: skip
        assert seen == [(2, 5), (4, 5), (5, 5)]
    assert parquet.read_table(made / "1.parquet").equals(parquet.read_table(made / "2.parquet"))


def test_what_is_missing_is_said_by_other_processes_too():
    error = MissingExtraError("soundfile", "audio", "reading recordings")
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


def test_bad_files_are_left_out_and_named(made):
    (made / "data" / "a" / "bad.wav").write_bytes(b"RIFF")
    count, bad = encode_files(made / "codec", made / "data", made / "codes.parquet")
    assert count == 5 and list(bad) == ["a/bad.wav"] and "cannot be read" in bad["a/bad.wav"]
    for path in (made / "data").rglob("0*.wav"):
        path.unlink()
    with pytest.raises(CodecError, match="none of the 1 files"):
        encode_files(made / "codec", made / "data", made / "other.parquet")
    assert not list(made.glob("*other*"))


def test_a_file_is_not_overwritten_unasked(made):
    target = made / "codes.parquet"
    target.write_text("mine", encoding="utf-8")
    with pytest.raises(OutputExistsError, match="codes.parquet exists"):
        encode_files(made / "codec", made / "data", target)
    assert target.read_text(encoding="utf-8") == "mine"
    encode_files(made / "codec", made / "data", target, overwrite=True)
    assert parquet.read_table(target).num_rows == 5


def test_tables_that_are_not_decoded(made):
    encode_files(made / "codec", made / "data", made / "codes.parquet")
    table = parquet.read_table(made / "codes.parquet")
    told = json.loads(table.schema.metadata[b"hf_tokext"])
    assert told == {"modality": "audio", "codebook_sizes": [8, 8]}

    def refused(changed, message):
        parquet.write_table(changed, made / "changed.parquet")
        with pytest.raises(CodecError, match=message):
            decode_files(made / "codec", made / "changed.parquet", made / "back")
        assert not (made / "back").exists() and not list(made.glob(".back*new*"))

    refused(table.drop_columns(["shape"]), "lacks path, codes or shape")
    refused(table.replace_schema_metadata({}), "does not say of which codec")
    other = json.dumps({**told, "codebook_sizes": [8, 16]}).encode()
    refused(table.replace_schema_metadata({b"hf_tokext": other}), "another codec")
    for path in ("../out.wav", "/out.wav", "a/../../out.wav", "", "c:\\out.wav"):
        paths = pa.array([path, *table["path"].to_pylist()[1:]])
        refused(table.set_column(0, "path", paths), "leads out")
    codes = table["codes"].to_pylist()
    codes[2][1][0] = 8
    refused(table.set_column(1, table.schema.field("codes"), pa.array(codes, table["codes"].type)), "codes 0 to 7")
    codes[2][1] = codes[2][1][1:]
    refused(table.set_column(1, table.schema.field("codes"), pa.array(codes, table["codes"].type)), "is damaged")
    shapes = pa.array([None] * len(codes), table["shape"].type)
    refused(table.set_column(2, table.schema.field("shape"), shapes), "is damaged")
    (made / "changed.parquet").write_bytes(b"PAR1")
    with pytest.raises(CodecError, match="cannot be read as parquet"):
        decode_files(made / "codec", made / "changed.parquet", made / "back")


def test_files_that_differ_in_their_suffix_only(tmp_path):
    data = folder_of("image", tmp_path / "data", 2)
    (data / "b" / "00.bmp").write_bytes((data / "b" / "00.png").read_bytes())
    codec, processor = MODALITIES["image"].make(data / "b" / "00.png", SMALL["image"])
    codec.save_pretrained(tmp_path / "codec")
    processor.save_pretrained(tmp_path / "codec")
    encode_files(tmp_path / "codec", data, tmp_path / "codes.parquet")
    assert decode_files(tmp_path / "codec", tmp_path / "codes.parquet", tmp_path / "back", limit=9) == 3
    assert len(list((tmp_path / "back").rglob("*.png"))) == 3
    with pytest.raises(OutputExistsError):
        decode_files(tmp_path / "codec", tmp_path / "codes.parquet", tmp_path / "back")


def test_folders_that_hold_no_codec(made):
    with pytest.raises(CodecError, match="no config.json"):
        encode_files(made / "data", made / "data", made / "codes.parquet")
    (made / "codec" / "preprocessor_config.json").unlink()
    with pytest.raises(CodecError, match="cannot be loaded"):
        load_codec(made / "codec")


def test_a_continuous_codec_has_no_codes(tmp_path):
    data = folder_of("depth", tmp_path / "data", 2)
    options = {**SMALL["depth"], "quantizer": "none", "quantizer_options": None}
    codec, processor = MODALITIES["depth"].make(data / "b" / "00.npy", options)
    codec.save_pretrained(tmp_path / "codec")
    processor.save_pretrained(tmp_path / "codec")
    with pytest.raises(CodecError, match="continuous"):
        encode_files(tmp_path / "codec", data, tmp_path / "codes.parquet")


@pytest.mark.parametrize("size", [(20, 30), (30, 20), (16, 16), (4, 9), (1, 1)])
def test_pieces_have_the_shape_wanted_and_lie_within(size):
    chance = torch.Generator().manual_seed(0)
    found = np.array([_window(size, (16, 24), chance) for _ in range(300)])
    assert (found >= 0).all() and (found[:, 2:] >= 1).all()
    assert (found[:, 0] + found[:, 2] <= size[0]).all() and (found[:, 1] + found[:, 3] <= size[1]).all()
    if min(size) >= 16:
        assert len(np.unique(found, axis=0)) > 20
