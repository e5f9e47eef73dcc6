"""The tour as a Voila page: what a page has that a notebook has not. Its controls are moved in test_path_controls.py."""

from __future__ import annotations


def test_the_page_shows_words_and_widgets_but_no_code_and_no_picture_beside_a_live_widget(voila):
    assert "Paths through weight space" in voila.locator("h1").first.inner_text()
    assert voila.locator(".nnvis-loss").count() == 2, "each explorer is rendered once"
    assert "load_demo" not in voila.locator("body").inner_text()
    assert not any(picture.is_visible() for picture in voila.locator("img.nnvis-static").all())
    voila.complaints.raise_any()
