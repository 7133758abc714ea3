from command_line import command_tree, tuner, untried

__all__ = ["command_tree", "tuner", "untried"]
