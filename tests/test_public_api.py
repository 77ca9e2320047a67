"""The public names, pinned: a change here is a change for users."""

import subprocess
import sys

import pytest

import hf_tokext

NAMES = [
    "AdversarialTraining",
    "AnchorTable",
    "BoxDomain",
    "ByteEnsembleConfig",
    "ByteEnsembleForCausalLM",
    "ByteLevelConfig",
    "ByteLevelForCausalLM",
    "ByteScore",
    "ByteTokenizer",
    "CheckpointError",
    "CodecEncoding",
    "CodecError",
    "CodecOutput",
    "Curriculum",
    "CurriculumError",
    "DepthCodecConfig",
    "DepthCodecImageProcessor",
    "DepthCodecModel",
    "Domain",
    "E3FP",
    "FontError",
    "GlyphConfig",
    "GlyphForCausalLM",
    "GlyphModel",
    "GlyphTokenizer",
    "Grammar",
    "GrammarLogitsProcessor",
    "HubError",
    "HubReadOnlyError",
    "HubTokenError",
    "HubUnavailableError",
    "ImageCodecConfig",
    "ImageCodecImageProcessor",
    "ImageCodecModel",
    "InitializedRow",
    "InitializedRows",
    "LLVMIRDomain",
    "LLVMIRTokenizer",
    "MissingExtraError",
    "ModalityCodec",
    "ModalityError",
    "MoleculeCollator",
    "MoleculeDomain",
    "MoleculeProcessor",
    "MoleculeTokenizer",
    "MultimodalCollator",
    "MultimodalConfig",
    "MultimodalForCausalLM",
    "MultimodalModel",
    "MultimodalProcessor",
    "OutputExistsError",
    "PeriodDiscriminator",
    "Pushed",
    "QuantizedCheckpointError",
    "Quantizer",
    "QuantizerError",
    "QuantizerOutput",
    "RegistrationError",
    "Report",
    "RepositoryClashError",
    "RowMethodError",
    "RowProblem",
    "Rows",
    "SVGDomain",
    "SVGTokenizer",
    "SideChannelConfig",
    "SideChannelForCausalLM",
    "SideChannelForConditionalGeneration",
    "SpectrumDiscriminator",
    "SpeechCodecConfig",
    "SpeechCodecFeatureExtractor",
    "SpeechCodecModel",
    "SpeechStream",
    "Stage",
    "TextError",
    "TokextError",
    "UnsafeCheckpointError",
    "UnsupportedModelError",
    "VerificationError",
    "VocabularyError",
    "WrappedAudioCodec",
    "WrappedAudioCodecConfig",
    "annealed",
    "bits_per_byte",
    "byteify",
    "caption_of",
    "complete",
    "ctc_spans",
    "decode_files",
    "domains_of",
    "drawing_dataset",
    "encode_files",
    "extend_checkpoint",
    "extend_model",
    "extend_with_codecs",
    "heal_checkpoint",
    "heal_model",
    "init_rows",
    "keep_to_grammar",
    "keep_tokenizer",
    "lm_features",
    "make_domain",
    "make_quantizer",
    "make_rows",
    "measure_ir",
    "name_classes",
    "push_checkpoint",
    "read_drawings",
    "read_molecule",
    "register_domain",
    "register_family",
    "register_row_method",
    "render_card",
    "rewrite_digits",
    "score_bytes",
    "speech_features",
    "train_codec",
    "train_tokenizer",
    "trainable_rows",
    "transplant_checkpoint",
    "transplant_tokenizer",
    "write_card",
]


def test_names_are_pinned():
    assert sorted(hf_tokext.__all__) == NAMES
    assert set(NAMES) <= set(dir(hf_tokext))


@pytest.mark.parametrize("name", NAMES)
def test_every_name_is_there(name):
    assert callable(getattr(hf_tokext, name))


def test_every_error_is_public_and_of_the_family():
    from hf_tokext import errors

    mine = {name for name, value in vars(errors).items() if isinstance(value, type)}
    assert mine <= set(NAMES)
    assert all(issubclass(getattr(errors, name), hf_tokext.TokextError) for name in mine)


def test_an_unknown_name_says_so():
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = hf_tokext.no_such_name


def test_version_is_the_installed_one():
    from importlib.metadata import version

    assert hf_tokext.__version__ == version("hf-tokext")


def test_import_is_cheap():
    heavy = "import sys, hf_tokext; print([m for m in ('torch', 'transformers', 'numpy', 'peft') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", heavy], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
