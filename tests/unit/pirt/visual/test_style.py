from pathlib import Path

from PIL import Image

from pirt.visual.style import new_figure, save


def test_a_name_with_dollar_signs_is_no_formula(tmp_path: Path) -> None:
    """As a benchmark or a variant may have it; what is not a formula would end in an error of matplotlib's."""
    pictures = []
    for name in (r"5 $\of$ 9", "5 9"):
        figure = new_figure(1, 1)
        figure.text(0, 0.5, name)
        save(figure, tmp_path / "a.png")
        pictures.append(Image.open(tmp_path / "a.png").tobytes())
    assert pictures[0] != pictures[1]
