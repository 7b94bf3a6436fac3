"""Keys that the environment does not have. That a block's key is used: tests/flows/test_secrets_of_a_night.py."""

import os

from prefect.settings import PREFECT_API_URL, temporary_settings

from flows.keys import block_of, fetch_key


def test_a_variable_has_a_block_of_the_same_name_and_no_other_block_has_a_variable():
    assert block_of("GATEBENCH_API_KEY") == "gatebench-api-key"
    assert block_of("GATEBENCH_KEY_OPENAI_2") == "gatebench-key-openai-2"


async def test_without_a_server_nobody_is_asked_and_none_is_started():
    with temporary_settings(restore_defaults={PREFECT_API_URL}):
        assert await fetch_key("GATEBENCH_KEY_OF_NOBODY") is False
    assert "GATEBENCH_KEY_OF_NOBODY" not in os.environ
