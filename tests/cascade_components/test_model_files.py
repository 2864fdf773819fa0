from cascade_components.encoders.model_files import kept_folder, local_folder, stamp


def test_a_folder_s_stamp_changes_with_its_files(tmp_path):
    (tmp_path / "a").write_text("a")
    before = stamp(tmp_path)
    assert stamp(tmp_path) == before
    assert stamp(tmp_path, "another version") != before
    (tmp_path / "b").write_text("b")
    assert stamp(tmp_path) != before


def test_what_is_made_of_a_model_lies_in_the_cache_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("CASCADE_CACHE", str(tmp_path / "cache"))
    model = tmp_path / "model"
    model.mkdir()
    first, second = kept_folder("onnx", "1", str(model)), kept_folder("onnx", "2", str(model))
    assert first.parent == tmp_path / "cache" / "onnx"
    assert first != second


def test_of_a_model_that_is_not_here_nothing_is_known(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    assert local_folder("nobody/nothing-of-the-kind") is None
    assert kept_folder("onnx", "1", "nobody/nothing-of-the-kind") is None
    assert local_folder(str(tmp_path / "no" / "such" / "folder")) is None
