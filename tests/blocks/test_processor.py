"""The vendor of the processor."""

from blocks.support import processor


def test_the_processor_has_a_vendor(tmp_path, monkeypatch):
    """The layout of weights depends on it; the model of a virtual machine may hide it."""
    cpuinfo = tmp_path / "cpuinfo"
    monkeypatch.setattr(processor, "CPUINFO", cpuinfo)
    monkeypatch.setattr(processor.platform, "processor", lambda: "Intel64 Family 6, GenuineIntel")
    assert processor.is_intel()
    cpuinfo.write_text("processor : 0\nvendor_id : AuthenticAMD\nflags : fpu\n", encoding="utf-8")
    assert not processor.is_intel()
    cpuinfo.write_text("vendor_id\t: GenuineIntel\nmodel name\t: Intel(R)\n", encoding="utf-8")
    assert processor.is_intel()
