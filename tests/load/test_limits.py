"""Budget and breaker: literals in, reasons out."""

from storage.records import Failure, Price, Sample
from tasks.load.limits import Stopper
from tasks.load.spec import BreakerSpec, BudgetSpec

S = 1_000_000_000
NO_BREAKER = BreakerSpec(enabled=False)
OK = Sample(
    *(0, "measured", "main", 0, 0, None, None, None, None, None, None, None, 1, None, True, None, None, 4, 5, 200),
    *(None, "stop", "m", "m", None, None, None, None, None, True, 0),
)


def stopper(breaker: BreakerSpec = NO_BREAKER, **budget) -> Stopper:
    return Stopper(BudgetSpec(**budget), breaker, 1_000)


def tokens(put: int | None, got: int | None, **changes) -> Sample:
    return OK._replace(input_tokens=put, output_tokens=got, **changes)


def failed(failure: str | None) -> Sample:
    return OK._replace(failure=failure)


def test_a_budget_of_requests_is_used_up_by_the_last_of_them():
    limits = stopper(requests=2)
    limits.sending(0)
    assert limits.reason is None
    limits.sending(0)
    assert (limits.reason, limits.detail) == ("budget", "budget: 2 requests")


def test_a_budget_of_tokens_counts_the_answers():
    limits = stopper(output_tokens=10)
    for got, reason in ((4, None), (None, None), (5, None), (1, "budget")):
        limits.ended(0, tokens(100, got))
        assert limits.reason == reason


def test_a_budget_that_cannot_be_counted_stops_and_says_which_one_could_be():
    untold = (
        "budget: 20 of 20 answers did not tell their tokens, so {} cannot be counted; set a budget of requests instead"
    )
    for budget, kind in (
        ({"output_tokens": 10}, "output tokens"),
        ({"usd": 1.0, "prices": {"m": Price(2.0, 8.0)}}, "dollars"),
    ):
        limits = stopper(**budget)
        for _ in range(19):
            limits.ended(0, tokens(None, None))
        assert limits.reason is None
        limits.ended(0, tokens(None, None))
        assert (limits.reason, limits.detail) == ("budget", untold.format(kind))


def test_answers_without_tokens_do_not_matter_to_a_budget_that_needs_none():
    for budget in ({"requests": 100}, {"usd": 1.0, "prices": {"m": Price(request=0.001)}}, {"usd": 1.0}):
        limits = stopper(**budget)
        for _ in range(40):
            limits.ended(0, tokens(None, None))
        assert limits.reason is None


def test_some_answers_without_tokens_are_borne():
    limits = stopper(output_tokens=10_000)
    for k in range(40):
        limits.ended(0, tokens(None, 1 if k % 3 else None))
    assert limits.reason is None


def test_money_is_prices_times_tokens_in_both_directions():
    limits = stopper(usd=0.5, prices={"m": Price(2.0, 8.0)})
    limits.ended(0, tokens(62_500, 31_250))  # 0.125 + 0.25
    assert limits.reason is None
    limits.ended(0, tokens(62_500, None))  # 0.125
    assert (limits.reason, limits.detail) == ("budget", "budget: 0.5 dollars")


def test_the_price_is_that_of_the_model_that_answered_then_of_the_one_asked_then_of_any():
    prices = {"dear": Price(1e6), "m": Price(1.0), "*": Price(0.0)}
    for served, asked, spent in (("dear", "m", True), ("m-2", "m", False), (None, "other", False)):
        limits = stopper(usd=1.0, prices=prices)
        limits.ended(0, tokens(1, None, model_served=served, model_asked=asked))
        assert (limits.reason is not None) == spent


def test_cached_input_has_its_own_price_and_a_request_one_of_its_own_if_it_was_accepted():
    price = Price(input=2.0, cached_input=0.5, output=0.0, request=0.25)
    assert price.usd(1, 1_000_000, 400_000, None) == 0.25 + 0.6 * 2.0 + 0.4 * 0.5
    assert Price(input=2.0).usd(1, 1_000_000, 400_000, 0) == 2.0
    limits = stopper(usd=0.25, prices={"m": price})
    limits.ended(0, tokens(None, None, status=429, failure="rate_limited"))
    assert limits.reason is None
    limits.ended(0, tokens(None, None))
    assert limits.reason == "budget"


def test_a_model_without_a_price_spends_no_budget_of_money():
    limits = stopper(usd=1e-9)
    limits.ended(0, tokens(10**9, 10**9))
    assert limits.reason is None


def test_wall_time_is_looked_at_when_something_is_sent():
    limits = stopper(wall_s=2.0)
    limits.sending(1_000 + 2 * S - 1)
    assert limits.reason is None
    limits.sending(1_000 + 2 * S)
    assert limits.detail == "budget: 2 s of wall time"


def test_wall_time_is_up_at_its_deadline_though_nothing_happens():
    limits = stopper(wall_s=2.0)
    assert limits.deadline_ns == 1_000 + 2 * S
    limits.tick(limits.deadline_ns - 1)
    assert limits.reason is None
    limits.tick(limits.deadline_ns)
    assert (limits.reason, limits.detail) == ("budget", "budget: 2 s of wall time")


def test_without_a_limit_of_wall_time_there_is_no_deadline():
    limits = stopper()
    limits.tick(10**18)
    assert (limits.deadline_ns, limits.reason) == (None, None)


BREAKER = BreakerSpec(share=0.5, window_s=10.0, min_requests=4)


def test_the_breaker_opens_above_its_share_and_not_before_it_has_seen_enough():
    limits = stopper(BREAKER)
    for failure, reason in ((Failure.RESET, None), (Failure.RESET, None), (None, None), (None, None)):
        limits.ended(S, failed(failure))
        assert limits.reason == reason  # 2 of 4 is not above a half
    limits.ended(S, failed(Failure.HTTP_5XX))
    assert (limits.reason, limits.detail) == ("breaker", "error breaker: 3 of the last 5 requests failed")


def test_the_breaker_forgets_what_is_older_than_its_window():
    limits = stopper(BREAKER)
    for _ in range(3):
        limits.ended(S, failed(Failure.RESET))
    for _ in range(4):
        limits.ended(12 * S, failed(None))
    assert limits.reason is None
    limits.ended(12 * S, failed(Failure.RESET))
    assert limits.reason is None  # 1 of 5


def test_what_we_cut_off_ourselves_does_not_open_the_breaker():
    limits = stopper(BREAKER)
    for failure in [Failure.CANCELLED, Failure.CENSORED] * 10:
        limits.ended(S, failed(failure))
    assert limits.reason is None


def test_the_breaker_is_on_by_default_and_can_be_switched_off():
    def after(breaker: BreakerSpec) -> str | None:
        limits = stopper(breaker)
        for _ in range(20):
            limits.ended(S, failed(Failure.HTTP_5XX))
        return limits.reason

    assert after(BreakerSpec()) == "breaker"
    assert after(BreakerSpec(enabled=False)) is None


def test_the_first_reason_stays():
    limits = stopper(requests=1)
    limits.stop("interrupted", "by hand")
    limits.sending(0)
    assert (limits.reason, limits.detail) == ("interrupted", "by hand")
