"""What is going on in a chat, without a screen: a `View` is told what to show."""
