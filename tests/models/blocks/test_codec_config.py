"""Configs of codecs can be imported while transformers' models cannot yet."""

from tests.another_process import in_another_process


def test_models_may_be_imported_before_the_auto_classes():
    """`modeling_utils` imports the Auto classes of configs on its way, which makes all families register."""
    said, error = in_another_process(
        """
        import hf_tokext
        from transformers.modeling_layers import GradientCheckpointingLayer
        from transformers import AutoConfig
        print(AutoConfig.for_model("tokext_speech_codec").hop_length)
        """
    )
    assert said == ["320"], error
