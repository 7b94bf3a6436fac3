from tasks.workload.builtin import builtin


def test_the_builtin_workload_is_the_same_for_ever():
    """Plans that name no workload are compared with their past by this id."""
    assert builtin().id == "232c69725b33da2afbe3b70a0bb5cc2f410fe917f89d6a0db7106fa0e3bd6de8"


def test_the_builtin_workload_is_240_modest_streams_over_a_minute():
    arrivals = list(builtin().arrivals())
    assert len(arrivals) == 240
    assert arrivals[0].offset_ns == 0
    assert 58e9 < arrivals[-1].offset_ns <= 60e9
    assert {(a.model, a.stream, a.failure) for a in arrivals} == {("default", True, None)}
    assert all(16 <= a.input_tokens <= 800 and 4 <= a.output_tokens <= 64 for a in arrivals)
    assert all(a.max_output_tokens == a.output_tokens for a in arrivals)
    assert 105 <= sorted(a.input_tokens for a in arrivals)[120] <= 135
    assert 21 <= sorted(a.output_tokens for a in arrivals)[120] <= 27
