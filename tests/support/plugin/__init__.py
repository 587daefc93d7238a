"""What the plugin's tests share: Triton's interpreter, references, registration."""
