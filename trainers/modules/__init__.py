"""What methods are made of, in rooms: `images`, `prompts`, `method_parts` and `engine`.

The files beside the rooms serve all of these and import none of them: `losses`, `checks` of config values,
`checkpoints`, and `distributed` for several processes. Nothing here imports a method.
"""
