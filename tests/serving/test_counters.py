"""What the service tells Prometheus."""

from ood_seg.serving.counters import Counters


def values(text: str) -> dict[str, float]:
    return {
        line.rsplit(" ", 1)[0]: float(line.rsplit(" ", 1)[1])
        for line in text.splitlines()
        if not line.startswith("#")
    }


def test_counts_sums_and_cumulative_buckets():
    counters = Counters()
    for status, seconds in ((200, 0.02), (200, 0.3), (429, 0.001), (200, 60.0)):
        counters.add_request(status, seconds)
    counters.add_batch(3, 0.5)
    counters.add_batch(1, 0.25)
    text = counters.text(waiting=7)
    found = values(text)
    assert found['ood_seg_requests_total{status="200"}'] == 3
    assert found['ood_seg_requests_total{status="429"}'] == 1
    assert found["ood_seg_images_total"] == 4
    assert found["ood_seg_batches_total"] == 2
    assert found["ood_seg_queue_images"] == 7
    assert found['ood_seg_request_seconds_bucket{le="0.01"}'] == 0  # refusals have no latency
    assert found['ood_seg_request_seconds_bucket{le="0.025"}'] == 1
    assert found['ood_seg_request_seconds_bucket{le="0.5"}'] == 2
    assert found['ood_seg_request_seconds_bucket{le="+Inf"}'] == 3
    assert abs(found["ood_seg_request_seconds_sum"] - 60.32) < 1e-6
    assert found["ood_seg_model_seconds_count"] == 2
    assert found['ood_seg_model_seconds_bucket{le="0.25"}'] == 1  # a bound belongs to its bucket


def test_every_metric_is_described_once():
    lines = Counters().text(waiting=0).splitlines()
    helps = [line.split()[2] for line in lines if line.startswith("# HELP")]
    types = [line.split()[2] for line in lines if line.startswith("# TYPE")]
    assert helps == types
    assert len(set(helps)) == len(helps)
    samples = {line.split("{")[0].split()[0] for line in lines if not line.startswith("#")}
    for sample in samples:
        assert any(sample.startswith(name) for name in helps)
