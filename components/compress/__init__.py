"""The optional step that makes a smaller model of a trained one."""
