"""Text: tokenizers, corpora, labelled texts, translation, questions."""
