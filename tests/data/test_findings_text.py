from chimeramix_jax.data import findings_text


def test_names_with_control_characters_stay_in_their_line():
    names = ["new\nline.png", "\x1b[31mred.png"]
    group = {"across_the_split": False, "between_classes": False, "files": [{"file": name} for name in names]}
    lines = [*findings_text._files("unreadable files", names, 9), *findings_text._groups("copies", [group], "test", 9)]
    assert r"  new\nline.png" in lines and r"  new\nline.png = \x1b[31mred.png" in lines
    ends = {"smallest": {"images": 1, "class": "a\rb"}, "largest": {"images": 2, "class": "\x1bc"}}
    assert r"1 (a\rb) to 2 (\x1bc)" in findings_text._balance(ends, "training")
