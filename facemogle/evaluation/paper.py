"""What the paper's table gives for Face-MoGLE on the 3,000 test pairs of MM-CelebA-HQ, by the names of metrics."""

PAPER: dict[str, dict[str, float]] = {
    "multimodal": {"fid": 22.24, "kid": 10.87, "cmmd": 0.477, "mask": 2.44, "text": 26.32, "ir": 0.70},
    "mask to face": {"fid": 19.63, "kid": 8.29, "cmmd": 0.399, "mask": 2.57, "text": 24.53, "ir": 0.04},
    "text to face": {"fid": 34.81, "kid": 21.85, "cmmd": 0.636, "mask": 4.94, "text": 26.91, "ir": 0.95},
}
