"""The sliders of style LoRAs: what they are set to makes the picture, and a picture sets them again."""

from contextlib import closing

import torch
from PIL import Image
from safetensors.torch import save_file

from facemogle.picture_files import read_settings
from facemogle.ui import layout
from facemogle.ui.provider import PipelineProvider
from tests.browser.actions import EXAMPLES, face_changes, file_of, generate, open_advanced, set_number


def test_sliders_count_in_the_picture_and_come_back_with_it(browser, pipeline, tmp_path):
    pipeline.register_to_config(num_inference_steps=2)
    generator = torch.Generator().manual_seed(0)
    loras = {str(tmp_path / "ink.safetensors"): 1.0, str(tmp_path / "oil.safetensors"): 0.5}
    for (file, scale), letter in zip(loras.items(), "qv", strict=True):
        layer = f"transformer_blocks.0.attn.to_{letter}"
        shapes = {"A": (2, 64), "B": (64, 2)}
        save_file({f"{layer}.lora_{k}.weight": torch.randn(v, generator=generator) for k, v in shapes.items()}, file)
        pipeline.load_lora(file, scale=scale)
    provider = PipelineProvider("tiny", lambda: pipeline, checkpoint="tiny", loras=loras)
    blocks = layout.build(provider, EXAMPLES)
    _, url, _ = blocks.launch(prevent_thread_lock=True, quiet=True, **layout.launch_options())
    ink, oil = loras
    with closing(blocks), closing(browser.new_context()) as context:
        page = context.new_page()
        page.goto(url)
        page.wait_for_selector(".checkpoint.ready")
        generate(page)
        face = face_changes(page, None)
        first = file_of(page, face)
        assert read_settings(first).loras == loras
        open_advanced(page)
        assert page.get_by_text("LoRA oil").count() == 1
        set_number(page, "lora-0", 0)
        set_number(page, "lora-1", 1.5)
        generate(page)
        second = file_of(page, face_changes(page, face))
        assert read_settings(second).loras == {ink: 0, oil: 1.5}
        assert Image.open(second).tobytes() != Image.open(first).tobytes()

        page.locator("#drop input[type=file]").set_input_files(
            {"name": "face.png", "mimeType": "image/png", "buffer": first.getvalue()}
        )
        page.wait_for_selector("#status >> text=Settings restored")
        for place, scale in enumerate(loras.values()):
            assert float(page.locator(f"#lora-{place} input[type=number]").input_value()) == scale
        page.locator("#history button").first.click()
        page.wait_for_function("document.querySelector('#lora-1 input[type=number]').value == '0.5'")
        page.locator("#history button").nth(1).click()
        page.wait_for_function("document.querySelector('#lora-1 input[type=number]').value == '1.5'")
        assert page.locator("#lora-0 input[type=number]").input_value() == "0"
