"""Texts of the markers that follow the characters of a tokenizer of fixed ids, in the order of their ids."""

PAD, BOS, EOS, UNK = MARKERS = ("<pad>", "<s>", "</s>", "<unk>")
