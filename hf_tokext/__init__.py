"""New tokens for pretrained models: everything made here is an ordinary Hugging Face checkpoint.

The public names are loaded on first use, so that `import hf_tokext` costs nothing. The families of `models` are
registered with transformers' Auto classes, by name only; their code is loaded together with the Auto class.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from hf_tokext import models as _models  # noqa: F401 (registers the families)

if TYPE_CHECKING:
    from hf_tokext.errors import (
        CheckpointError,
        CodecError,
        CurriculumError,
        FontError,
        HubError,
        HubReadOnlyError,
        HubTokenError,
        HubUnavailableError,
        MissingExtraError,
        ModalityError,
        OutputExistsError,
        QuantizedCheckpointError,
        QuantizerError,
        RegistrationError,
        RepositoryClashError,
        RowMethodError,
        TextError,
        TokextError,
        UnsafeCheckpointError,
        UnsupportedModelError,
        VerificationError,
        VocabularyError,
    )
    from hf_tokext.extend import (
        InitializedRow,
        InitializedRows,
        domains_of,
        extend_checkpoint,
        extend_model,
        extend_with_codecs,
        init_rows,
        keep_to_grammar,
        make_domain,
        register_domain,
        trainable_rows,
    )
    from hf_tokext.hub import Pushed, push_checkpoint, render_card, write_card
    from hf_tokext.measure.bits_per_byte import bits_per_byte
    from hf_tokext.measure.ir import measure_ir
    from hf_tokext.models.audio_codec.configuration_audio_codec import WrappedAudioCodecConfig
    from hf_tokext.models.audio_codec.modeling_audio_codec import WrappedAudioCodec
    from hf_tokext.models.box.domain import BoxDomain
    from hf_tokext.models.byte_level.byteify import byteify
    from hf_tokext.models.byte_level.completion import complete
    from hf_tokext.models.byte_level.configuration_byte_level import ByteEnsembleConfig, ByteLevelConfig
    from hf_tokext.models.byte_level.modeling_byte_ensemble import ByteEnsembleForCausalLM
    from hf_tokext.models.byte_level.modeling_byte_level import ByteLevelForCausalLM
    from hf_tokext.models.byte_level.score import ByteScore, score_bytes
    from hf_tokext.models.byte_level.tokenization_byte_level import ByteTokenizer
    from hf_tokext.models.codec import CodecEncoding, CodecOutput, ModalityCodec
    from hf_tokext.models.depth_codec.configuration_depth_codec import DepthCodecConfig
    from hf_tokext.models.depth_codec.image_processing_depth_codec import DepthCodecImageProcessor
    from hf_tokext.models.depth_codec.modeling_depth_codec import DepthCodecModel
    from hf_tokext.models.glyph.configuration_glyph import GlyphConfig
    from hf_tokext.models.glyph.modeling_glyph import GlyphForCausalLM, GlyphModel
    from hf_tokext.models.glyph.tokenization_glyph import GlyphTokenizer
    from hf_tokext.models.image_codec.configuration_image_codec import ImageCodecConfig
    from hf_tokext.models.image_codec.image_processing_image_codec import ImageCodecImageProcessor
    from hf_tokext.models.image_codec.modeling_image_codec import ImageCodecModel
    from hf_tokext.models.llvm_ir.domain import LLVMIRDomain
    from hf_tokext.models.llvm_ir.tokenization_llvm_ir import LLVMIRTokenizer
    from hf_tokext.models.molecule.collator import MoleculeCollator
    from hf_tokext.models.molecule.conformers import read_molecule
    from hf_tokext.models.molecule.domain import MoleculeDomain
    from hf_tokext.models.molecule.e3fp import E3FP
    from hf_tokext.models.molecule.processing_molecule import MoleculeProcessor
    from hf_tokext.models.molecule.tokenization_molecule import MoleculeTokenizer
    from hf_tokext.models.multimodal.configuration_multimodal import MultimodalConfig
    from hf_tokext.models.multimodal.modeling_multimodal import MultimodalForCausalLM
    from hf_tokext.models.multimodal.multimodal_model import MultimodalModel
    from hf_tokext.models.multimodal.processing_multimodal import MultimodalProcessor
    from hf_tokext.models.side_channel.configuration_side_channel import SideChannelConfig
    from hf_tokext.models.side_channel.modeling_side_channel import (
        SideChannelForCausalLM,
        SideChannelForConditionalGeneration,
    )
    from hf_tokext.models.speech_codec.configuration_speech_codec import SpeechCodecConfig
    from hf_tokext.models.speech_codec.discriminators import (
        AdversarialTraining,
        PeriodDiscriminator,
        SpectrumDiscriminator,
    )
    from hf_tokext.models.speech_codec.feature_extraction_speech_codec import SpeechCodecFeatureExtractor
    from hf_tokext.models.speech_codec.modeling_speech_codec import SpeechCodecModel
    from hf_tokext.models.speech_codec.streaming import SpeechStream
    from hf_tokext.models.speech_codec.teachers import ctc_spans, lm_features, speech_features
    from hf_tokext.models.svg.domain import SVGDomain
    from hf_tokext.models.svg.instructions import caption_of, drawing_dataset, read_drawings
    from hf_tokext.models.svg.tokenization_svg import SVGTokenizer
    from hf_tokext.quantizers import AnchorTable, Quantizer, QuantizerOutput, make_quantizer
    from hf_tokext.registry import keep_tokenizer, name_classes, register_family
    from hf_tokext.rows import RowProblem, Rows, make_rows, register_row_method
    from hf_tokext.training import heal_checkpoint, heal_model
    from hf_tokext.training.codec import train_codec
    from hf_tokext.training.codec_codes import decode_files, encode_files
    from hf_tokext.training.curriculum import Curriculum, MultimodalCollator, Stage, annealed
    from hf_tokext.transplant import Report, transplant_checkpoint, transplant_tokenizer
    from hf_tokext.transplant.train_tokenizer import train_tokenizer
    from hf_tokext.vocabulary.digits import rewrite_digits
    from hf_tokext.vocabulary.domain import Domain
    from hf_tokext.vocabulary.grammar import Grammar
    from hf_tokext.vocabulary.grammar_processor import GrammarLogitsProcessor

__all__ = [
    "E3FP", "AdversarialTraining", "AnchorTable", "BoxDomain", "ByteEnsembleConfig", "ByteEnsembleForCausalLM",
    "ByteLevelConfig", "ByteLevelForCausalLM", "ByteScore", "ByteTokenizer", "CheckpointError", "CodecEncoding",
    "CodecError", "CodecOutput", "Curriculum", "CurriculumError", "DepthCodecConfig", "DepthCodecImageProcessor",
    "DepthCodecModel", "Domain", "FontError", "GlyphConfig", "GlyphForCausalLM", "GlyphModel", "GlyphTokenizer",
    "Grammar", "GrammarLogitsProcessor", "HubError", "HubReadOnlyError", "HubTokenError", "HubUnavailableError",
    "ImageCodecConfig", "ImageCodecImageProcessor", "ImageCodecModel", "InitializedRow", "InitializedRows",
    "LLVMIRDomain", "LLVMIRTokenizer", "MissingExtraError", "ModalityCodec", "ModalityError", "MoleculeCollator",
    "MoleculeDomain", "MoleculeProcessor", "MoleculeTokenizer", "MultimodalCollator", "MultimodalConfig",
    "MultimodalForCausalLM", "MultimodalModel", "MultimodalProcessor", "OutputExistsError", "PeriodDiscriminator",
    "Pushed", "QuantizedCheckpointError", "Quantizer", "QuantizerError", "QuantizerOutput", "RegistrationError",
    "Report", "RepositoryClashError", "RowMethodError", "RowProblem", "Rows", "SVGDomain", "SVGTokenizer",
    "SideChannelConfig", "SideChannelForCausalLM", "SideChannelForConditionalGeneration", "SpectrumDiscriminator",
    "SpeechCodecConfig", "SpeechCodecFeatureExtractor", "SpeechCodecModel", "SpeechStream", "Stage", "TextError",
    "TokextError", "UnsafeCheckpointError", "UnsupportedModelError", "VerificationError", "VocabularyError",
    "WrappedAudioCodec", "WrappedAudioCodecConfig", "annealed", "bits_per_byte", "byteify", "caption_of",
    "complete", "ctc_spans", "decode_files", "domains_of", "drawing_dataset", "encode_files", "extend_checkpoint",
    "extend_model", "extend_with_codecs", "heal_checkpoint", "heal_model", "init_rows", "keep_to_grammar",
    "keep_tokenizer", "lm_features", "make_domain", "make_quantizer", "make_rows", "measure_ir", "name_classes",
    "push_checkpoint", "read_drawings", "read_molecule", "register_domain", "register_family",
    "register_row_method", "render_card", "rewrite_digits", "score_bytes", "speech_features", "train_codec",
    "train_tokenizer", "trainable_rows", "transplant_checkpoint", "transplant_tokenizer", "write_card",
]  # fmt: skip

_ROOMS = {
    "E3FP": "hf_tokext.models.molecule.e3fp",
    "AdversarialTraining": "hf_tokext.models.speech_codec.discriminators",
    "AnchorTable": "hf_tokext.quantizers",
    "BoxDomain": "hf_tokext.models.box.domain",
    "ByteEnsembleConfig": "hf_tokext.models.byte_level.configuration_byte_level",
    "ByteEnsembleForCausalLM": "hf_tokext.models.byte_level.modeling_byte_ensemble",
    "ByteLevelConfig": "hf_tokext.models.byte_level.configuration_byte_level",
    "ByteLevelForCausalLM": "hf_tokext.models.byte_level.modeling_byte_level",
    "ByteScore": "hf_tokext.models.byte_level.score",
    "ByteTokenizer": "hf_tokext.models.byte_level.tokenization_byte_level",
    "CodecEncoding": "hf_tokext.models.codec",
    "CodecOutput": "hf_tokext.models.codec",
    "Curriculum": "hf_tokext.training.curriculum",
    "DepthCodecConfig": "hf_tokext.models.depth_codec.configuration_depth_codec",
    "DepthCodecImageProcessor": "hf_tokext.models.depth_codec.image_processing_depth_codec",
    "DepthCodecModel": "hf_tokext.models.depth_codec.modeling_depth_codec",
    "Domain": "hf_tokext.vocabulary.domain",
    "GlyphConfig": "hf_tokext.models.glyph.configuration_glyph",
    "GlyphForCausalLM": "hf_tokext.models.glyph.modeling_glyph",
    "GlyphModel": "hf_tokext.models.glyph.modeling_glyph",
    "GlyphTokenizer": "hf_tokext.models.glyph.tokenization_glyph",
    "Grammar": "hf_tokext.vocabulary.grammar",
    "GrammarLogitsProcessor": "hf_tokext.vocabulary.grammar_processor",
    "ImageCodecConfig": "hf_tokext.models.image_codec.configuration_image_codec",
    "ImageCodecImageProcessor": "hf_tokext.models.image_codec.image_processing_image_codec",
    "ImageCodecModel": "hf_tokext.models.image_codec.modeling_image_codec",
    "InitializedRow": "hf_tokext.extend",
    "InitializedRows": "hf_tokext.extend",
    "LLVMIRDomain": "hf_tokext.models.llvm_ir.domain",
    "LLVMIRTokenizer": "hf_tokext.models.llvm_ir.tokenization_llvm_ir",
    "ModalityCodec": "hf_tokext.models.codec",
    "MoleculeCollator": "hf_tokext.models.molecule.collator",
    "MoleculeDomain": "hf_tokext.models.molecule.domain",
    "MoleculeProcessor": "hf_tokext.models.molecule.processing_molecule",
    "MoleculeTokenizer": "hf_tokext.models.molecule.tokenization_molecule",
    "MultimodalCollator": "hf_tokext.training.curriculum",
    "MultimodalConfig": "hf_tokext.models.multimodal.configuration_multimodal",
    "MultimodalForCausalLM": "hf_tokext.models.multimodal.modeling_multimodal",
    "MultimodalModel": "hf_tokext.models.multimodal.multimodal_model",
    "MultimodalProcessor": "hf_tokext.models.multimodal.processing_multimodal",
    "PeriodDiscriminator": "hf_tokext.models.speech_codec.discriminators",
    "Pushed": "hf_tokext.hub",
    "Quantizer": "hf_tokext.quantizers",
    "QuantizerOutput": "hf_tokext.quantizers",
    "Report": "hf_tokext.transplant",
    "RowProblem": "hf_tokext.rows",
    "Rows": "hf_tokext.rows",
    "SVGDomain": "hf_tokext.models.svg.domain",
    "SVGTokenizer": "hf_tokext.models.svg.tokenization_svg",
    "SideChannelConfig": "hf_tokext.models.side_channel.configuration_side_channel",
    "SideChannelForCausalLM": "hf_tokext.models.side_channel.modeling_side_channel",
    "SideChannelForConditionalGeneration": "hf_tokext.models.side_channel.modeling_side_channel",
    "SpectrumDiscriminator": "hf_tokext.models.speech_codec.discriminators",
    "SpeechCodecConfig": "hf_tokext.models.speech_codec.configuration_speech_codec",
    "SpeechCodecFeatureExtractor": "hf_tokext.models.speech_codec.feature_extraction_speech_codec",
    "SpeechCodecModel": "hf_tokext.models.speech_codec.modeling_speech_codec",
    "SpeechStream": "hf_tokext.models.speech_codec.streaming",
    "Stage": "hf_tokext.training.curriculum",
    "WrappedAudioCodec": "hf_tokext.models.audio_codec.modeling_audio_codec",
    "WrappedAudioCodecConfig": "hf_tokext.models.audio_codec.configuration_audio_codec",
    "annealed": "hf_tokext.training.curriculum",
    "bits_per_byte": "hf_tokext.measure",
    "byteify": "hf_tokext.models.byte_level.byteify",
    "caption_of": "hf_tokext.models.svg.instructions",
    "complete": "hf_tokext.models.byte_level.completion",
    "ctc_spans": "hf_tokext.models.speech_codec.teachers",
    "decode_files": "hf_tokext.training.codec_codes",
    "domains_of": "hf_tokext.extend",
    "drawing_dataset": "hf_tokext.models.svg.instructions",
    "encode_files": "hf_tokext.training.codec_codes",
    "extend_checkpoint": "hf_tokext.extend",
    "extend_model": "hf_tokext.extend",
    "extend_with_codecs": "hf_tokext.extend",
    "heal_checkpoint": "hf_tokext.training",
    "heal_model": "hf_tokext.training",
    "init_rows": "hf_tokext.extend",
    "keep_to_grammar": "hf_tokext.extend",
    "keep_tokenizer": "hf_tokext.registry",
    "lm_features": "hf_tokext.models.speech_codec.teachers",
    "make_domain": "hf_tokext.extend",
    "make_quantizer": "hf_tokext.quantizers",
    "make_rows": "hf_tokext.rows",
    "measure_ir": "hf_tokext.measure.ir",
    "name_classes": "hf_tokext.registry",
    "push_checkpoint": "hf_tokext.hub",
    "read_drawings": "hf_tokext.models.svg.instructions",
    "read_molecule": "hf_tokext.models.molecule.conformers",
    "register_domain": "hf_tokext.extend",
    "register_family": "hf_tokext.registry",
    "register_row_method": "hf_tokext.rows",
    "render_card": "hf_tokext.hub",
    "rewrite_digits": "hf_tokext.vocabulary.digits",
    "score_bytes": "hf_tokext.models.byte_level.score",
    "speech_features": "hf_tokext.models.speech_codec.teachers",
    "train_codec": "hf_tokext.training.codec",
    "train_tokenizer": "hf_tokext.transplant.train_tokenizer",
    "trainable_rows": "hf_tokext.extend",
    "transplant_checkpoint": "hf_tokext.transplant",
    "transplant_tokenizer": "hf_tokext.transplant",
    "write_card": "hf_tokext.hub",
}


def __getattr__(name: str) -> Any:
    """Load a public name, or the version, the first time it is asked for."""
    if name == "__version__":
        from importlib.metadata import version

        value: Any = version("hf-tokext")
    elif name in __all__:
        value = getattr(import_module(_ROOMS.get(name, "hf_tokext.errors")), name)
    else:
        raise AttributeError(f"module 'hf_tokext' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """Public names, those not loaded yet included."""
    return sorted({*globals(), *__all__, "__version__"})
