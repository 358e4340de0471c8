"""What a user reads when the function of a reward cannot be imported."""

from __future__ import annotations

from pathlib import Path

import pytest

from r1kit.rewards import custom


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("absent_rewards:f", "No module named 'absent_rewards'. Put the module into the recipe's directory"),
        ("own_misspelt.py:brevity", "own_misspelt.py is a file: name the module, as own_misspelt:brevity"),
        ("own_misspelt:brevty", "has no attribute 'brevty'; did you mean own_misspelt:brevity?"),
        ("own_broken:f", "importing own_broken failed: SyntaxError: invalid syntax (own_broken.py, line 1)"),
        ("own_import:f", "importing own_import failed: ModuleNotFoundError: No module named 'absent_library'"),
        ("own_attribute:f", "importing own_attribute failed: AttributeError: module 'math' has no attribute 'f'"),
    ],
)
def test_each_failure_says_what_to_do(tmp_path: Path, name: str, expected: str) -> None:
    (tmp_path / "own_misspelt.py").write_text("LIMIT = 3\n\ndef brevity(completion):\n    return 1.0\n")
    (tmp_path / "own_broken.py").write_text("this is no Python\n")
    (tmp_path / "own_import.py").write_text("import absent_library\n")
    (tmp_path / "own_attribute.py").write_text("import math\n\nmath.f\n")
    with pytest.raises(custom.RewardError) as caught:
        custom.load(name, tmp_path)
    assert str(caught.value).startswith(f"reward {name}: ")
    assert expected in str(caught.value)
