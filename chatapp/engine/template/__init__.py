"""From a conversation to tokens: the chat template of a model, exactly, with people's text kept apart."""
