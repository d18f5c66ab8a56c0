"""What the trainers are made of: CLIP's loading, prompts, the text encoder, losses."""
