"""The roles of special tokens: what a marker is for, whatever it is called."""

from hf_tokext.vocabulary.pieces import Vocabulary

# Attribute of a tokenizer -> role; these say it outright and come before any table of texts.
ROLE_OF_ATTRIBUTE = {
    "eos_token": "eos",
    "bos_token": "bos",
    "pad_token": "pad",
    "unk_token": "unk",
    "sep_token": "sep",
    "cls_token": "cls",
    "mask_token": "mask",
    "eot_token": "turn_end",
}

# Role -> texts that families give it, most important role first.
TEXTS_OF_ROLE: dict[str, tuple[str, ...]] = {
    "eos": ("</s>", "<|endoftext|>", "<eos>", "<|end_of_text|>", "<｜end▁of▁sentence｜>", "<|END_OF_TEXT|>"),
    "bos": ("<s>", "<bos>", "<|begin_of_text|>", "<|startoftext|>", "<｜begin▁of▁sentence｜>", "<BOS_TOKEN>"),
    "turn_end": (
        "<|im_end|>", "<end_of_turn>", "<turn|>", "<|eot_id|>", "<|eom_id|>", "<|end|>", "<|END_OF_TURN_TOKEN|>",
        "<|return|>", "<end_of_utterance>", "<|eot|>",
    ),
    "turn_start": (
        "<|im_start|>", "<start_of_turn>", "<|turn>", "<|start_header_id|>", "<|start|>", "<|START_OF_TURN_TOKEN|>",
        "[INST]", "<|header_start|>", "<|user|>",
    ),
    "header_end": ("<|end_header_id|>", "<|message|>", "<|header_end|>"),
    "answer_start": ("[/INST]", "<|assistant|>", "<｜Assistant｜>"),
    "pad": ("<pad>", "[PAD]", "<|pad|>", "<PAD>", "<|finetune_right_pad_id|>", "<｜▁pad▁｜>"),
    "unk": ("<unk>", "[UNK]", "<UNK>", "<|unk|>"),
    "sep": ("[SEP]", "<sep>"),
    "cls": ("[CLS]", "<cls>", "<CLS>"),
    "mask": ("[MASK]", "<mask>", "<MASK_TOKEN>"),
    "tools_start": ("[AVAILABLE_TOOLS]", "<tools>"),
    "tools_end": ("[/AVAILABLE_TOOLS]", "</tools>"),
    "tool_call_start": ("<tool_call>", "<|tool_call_start|>", "[TOOL_CALLS]", "<|python_tag|>", "<｜tool▁calls▁begin｜>"),
    "tool_call_end": ("</tool_call>", "<|tool_call_end|>", "[/TOOL_CALLS]", "<｜tool▁calls▁end｜>"),
    "tool_result_start": ("<tool_response>", "[TOOL_RESULTS]", "<｜tool▁outputs▁begin｜>"),
    "tool_result_end": ("</tool_response>", "[/TOOL_RESULTS]", "<｜tool▁outputs▁end｜>"),
    "think_start": ("<think>", "[THINK]", "<|channel>"),
    "think_end": ("</think>", "[/THINK]", "<channel|>"),
    "fim_prefix": ("<|fim_prefix|>", "<fim_prefix>", "<fim-prefix>", "[PREFIX]", "▁<PRE>", "<PRE>", "<｜fim▁begin｜>"),
    "fim_suffix": ("<|fim_suffix|>", "<fim_suffix>", "<fim-suffix>", "[SUFFIX]", "▁<SUF>", "<SUF>", "<｜fim▁hole｜>"),
    "fim_middle": ("<|fim_middle|>", "<fim_middle>", "<fim-middle>", "[MIDDLE]", "▁<MID>", "<MID>", "<｜fim▁end｜>"),
    "fim_pad": ("<|fim_pad|>", "<fim_pad>", "<fim-pad>"),
    "repository": ("<|repo_name|>", "<repo_name>", "<reponame>"),
    "file": ("<|file_sep|>", "<file_sep>", "<filename>"),
}  # fmt: skip

# What may stand in for a role that the base lacks, in order.
STAND_INS = {
    "bos": ("cls",),
    "cls": ("bos",),
    "eos": ("sep", "turn_end"),
    "sep": ("eos",),
    "turn_end": ("eos",),
    "pad": ("eos",),
}


def roles(vocabulary: Vocabulary) -> dict[str, tuple[int, ...]]:
    """Say which ids have which role.

    Args:
        vocabulary: the tokenizer's vocabulary; control tokens and other added tokens are looked at.

    Returns:
        Role to ids, the most telling id first; one id may have several roles (GPT-2's `<|endoftext|>` has three).
    """
    found: dict[str, list[int]] = {role: [] for role in TEXTS_OF_ROLE}
    for attribute, role in ROLE_OF_ATTRIBUTE.items():
        if attribute in vocabulary.named:
            found[role].append(vocabulary.named[attribute])
    ids = {text: index for index, text in vocabulary.special.items()} | vocabulary.id_of_text
    for role, texts in TEXTS_OF_ROLE.items():
        found[role] += [ids[text] for text in texts if text in ids and ids[text] not in found[role]]
    return {role: tuple(indices) for role, indices in found.items() if indices}


def map_roles(target: Vocabulary, base: Vocabulary) -> dict[int, int]:
    """Give every special token of the target the base token of the same text or role.

    Many target ids may share one base id. The base's end-of-sequence token is never lost: if no target id would
    get it, the target's own end-of-sequence token does.

    Args:
        target: the vocabulary to be put on.
        base: the vocabulary that the model was trained with.

    Returns:
        Target id to base id, for the ids that have a partner.
    """
    in_target, in_base = roles(target), roles(base)
    base_texts = {text: index for index, text in base.special.items()} | base.id_of_text
    found: dict[int, int] = {}
    for index, text in target.special.items():
        if text in base_texts:
            found[index] = base_texts[text]
    for role, indices in in_target.items():  # in the order of importance of TEXTS_OF_ROLE
        partners = [in_base[name][0] for name in (role, *STAND_INS.get(role, ())) if name in in_base]
        if partners:
            for index in indices:
                found.setdefault(index, partners[0])
    if "eos" in in_target and "eos" in in_base and in_base["eos"][0] not in found.values():
        found[in_target["eos"][0]] = in_base["eos"][0]
    return found
