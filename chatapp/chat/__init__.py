"""The logic of a chat, without a screen: a `View` is told what to show."""
