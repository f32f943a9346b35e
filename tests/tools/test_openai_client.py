"""The official openai client against the running program with the embedded model."""
import asyncio
import json
import sys
import unittest
from pathlib import Path

try:
    import openai
except ImportError:
    raise unittest.SkipTest("openai is not installed (tools/setup.sh client)")

sys.path.insert(0, str(Path(__file__).resolve().parent))
from server_process import Server  # noqa: E402

KEY = "a-key-of-this-test"
SECRET = "xyzzy"  # in every prompt; must be in no log
PROMPT = f"Once upon a time the wolf {SECRET}"
MODEL = "RWKV/goose"  # which the client percent-encodes in addresses
# As a client sends them: two schemas with definitions of one name, and a function that takes nothing.
TOOLS = [{"type": "function", "function": function} for function in (
    {"name": "weather", "description": "Of a place.", "parameters": {
        "$defs": {"x": {"type": "string", "enum": ["sun", "rain"]}}, "type": "object", "additionalProperties": False,
        "properties": {"place": {"type": "string", "minLength": 1, "maxLength": 20}, "kind": {"$ref": "#/$defs/x"}},
        "required": ["place", "kind"]}},
    {"name": "count", "parameters": {
        "$defs": {"x": {"type": "integer", "minimum": 1, "maximum": 9}}, "type": "object",
        "properties": {"wolves": {"$ref": "#/$defs/x"}}, "required": ["wolves"]}},
    {"name": "time"})]


def joined(stream):
    return "".join(choice.text for chunk in stream for choice in chunk.choices)


def words(stream):
    return "".join(c.delta.content or "" for chunk in stream for c in chunk.choices)


class Client(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Server("--api-key", KEY, "--name", MODEL, "--max-prompt-tokens", 2000, "--max-tokens", 500)
        cls.server.__enter__()
        cls.addClassCleanup(cls.server.__exit__)
        cls.client = openai.OpenAI(base_url=cls.server.url + "/v1", api_key=KEY, max_retries=0)
        cls.addClassCleanup(cls.client.close)

    def complete(self, **more):
        return self.client.completions.create(
            **({"model": MODEL, "prompt": PROMPT, "max_tokens": 20, "seed": 1} | more))

    def chat(self, content=f"Tell me of a wolf called {SECRET}.", **more):
        messages = [{"role": "user", "content": content}]
        return self.client.chat.completions.create(
            **({"model": MODEL, "messages": messages, "max_tokens": 20, "seed": 1} | more))

    def test_models(self):
        self.assertEqual([model.id for model in self.client.models.list()], [MODEL])
        self.assertEqual(self.client.models.retrieve(MODEL).object, "model")
        with self.assertRaises(openai.NotFoundError):
            self.client.models.retrieve("other")

    def test_completions_stream_the_same(self):
        whole = self.complete()
        self.assertEqual(whole.object, "text_completion")
        self.assertEqual(whole.usage.completion_tokens, 20)
        self.assertEqual(whole.choices[0].finish_reason, "length")
        self.assertTrue(whole.choices[0].text)
        self.assertEqual(joined(self.complete(stream=True)), whole.choices[0].text)

    def test_chat_streams_the_same(self):
        whole = self.chat()
        self.assertEqual(whole.choices[0].message.role, "assistant")
        self.assertTrue(whole.choices[0].message.content)
        self.assertEqual(words(self.chat(stream=True)), whole.choices[0].message.content)

    def test_usage_of_a_stream_comes_last(self):
        chunks = list(self.chat(stream=True, stream_options={"include_usage": True}))
        self.assertEqual(chunks[-1].choices, [])
        self.assertEqual(chunks[-1].usage.completion_tokens, 20)
        self.assertTrue(all(chunk.usage is None for chunk in chunks[:-1]))

    def test_n_and_seeds(self):
        answers = self.complete(n=3, seed=7).choices
        self.assertEqual([answer.index for answer in answers], [0, 1, 2])
        self.assertGreater(len({answer.text for answer in answers}), 1)
        self.assertEqual([a.text for a in self.complete(n=3, seed=7).choices], [a.text for a in answers])
        self.assertEqual(self.complete(seed=7).choices[0].text, answers[0].text)
        self.assertNotEqual(self.complete(seed=8).choices[0].text, answers[1].text)
        self.assertEqual(len(self.complete(prompt=["One", "Two"], n=2).choices), 4)

    def test_stop(self):
        text = self.complete().choices[0].text
        word = text.split()[2]
        stopped = self.complete(stop=[word]).choices[0]
        self.assertEqual(stopped.finish_reason, "stop")
        self.assertEqual(stopped.text, text[:text.index(word)])

    def test_logprobs(self):
        choice = self.complete(logprobs=2).choices[0]
        self.assertEqual("".join(choice.logprobs.tokens), choice.text)
        self.assertEqual(len(choice.logprobs.top_logprobs), 20)
        content = self.chat(logprobs=True, top_logprobs=3).choices[0].logprobs.content
        self.assertEqual(len(content), 20)
        self.assertEqual(len(content[0].top_logprobs), 3)
        self.assertTrue(all(entry.logprob <= 0 for entry in content))
        # As evaluation harnesses score.
        echo = self.complete(max_tokens=0, echo=True, logprobs=1).choices[0]
        self.assertEqual(echo.text, PROMPT)
        self.assertIsNone(echo.logprobs.token_logprobs[0])
        self.assertTrue(all(value < 0 for value in echo.logprobs.token_logprobs[1:]))
        self.assertEqual("".join(echo.logprobs.tokens), PROMPT)
        extra = self.complete(max_tokens=2, extra_body={"prompt_logprobs": 0, "return_token_ids": True}).choices[0]
        self.assertEqual(len(extra.prompt_logprobs), 1 + len(echo.logprobs.tokens))  # token 0
        self.assertEqual(len(extra.prompt_token_ids), len(extra.prompt_logprobs))
        scores = [entry[str(token)]["logprob"] for token, entry in zip(extra.prompt_token_ids, extra.prompt_logprobs) if entry]
        self.assertEqual(scores[1:], echo.logprobs.token_logprobs[1:])
        self.assertEqual(len(extra.token_ids), 2)

    def test_logit_bias(self):
        chosen = self.complete(max_tokens=4, logit_bias={"300": 100}, logprobs=0).choices[0]
        self.assertEqual(len(set(chosen.logprobs.tokens)), 1)
        first = self.complete(max_tokens=4, temperature=0, logprobs=0).choices[0].logprobs.tokens
        self.assertNotEqual(first, chosen.logprobs.tokens)

    def test_json(self):
        content = self.chat(response_format={"type": "json_object"}, max_tokens=400).choices[0]
        if content.finish_reason == "stop":
            self.assertIsInstance(json.loads(content.message.content), dict)
        schema = {"type": "object", "properties": {"name": {"enum": ["wolf", "fox"]}, "old": {"type": "boolean"}},
                  "required": ["name", "old"], "additionalProperties": False}
        wanted = {"type": "json_schema", "json_schema": {"name": "animal", "schema": schema}}
        for seed in range(5):
            choice = self.chat(response_format=wanted, seed=seed, max_tokens=200).choices[0]
            self.assertEqual(choice.finish_reason, "stop")
            animal = json.loads(choice.message.content)
            self.assertIn(animal["name"], ("wolf", "fox"))
            self.assertIsInstance(animal["old"], bool)

    def test_tools(self):
        tool = {"type": "function", "function": {
            "name": "weather", "description": "Of a place.",
            "parameters": {"type": "object", "properties": {"place": {"type": "string"}}}}}
        message = self.chat(tools=[tool]).choices[0].message
        self.assertTrue(message.content or message.tool_calls)
        call = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": "{}"}}
        answer = self.client.chat.completions.create(model=MODEL, tools=[tool], max_tokens=5, messages=[
            {"role": "user", "content": "What is the weather?"},
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "call_1", "content": "Sunny."}])
        self.assertEqual(answer.choices[0].finish_reason, "length")

    def check_call(self, function):
        arguments = json.loads(function.arguments)
        if function.name == "weather":
            self.assertEqual(list(arguments), ["place", "kind"])
            self.assertTrue(1 <= len(arguments["place"]) <= 20)
            self.assertIn(arguments["kind"], ("sun", "rain"))
        elif function.name == "count":
            self.assertEqual(list(arguments), ["wolves"])
            self.assertIn(arguments["wolves"], range(1, 10))
        else:
            self.assertEqual((function.name, arguments), ("time", {}))
        return function.name

    def test_calls_that_must_be_made(self):
        named = {name: {"type": "function", "function": {"name": name}} for name in ("weather", "count", "time")}
        for wanted, choice in (("", "required"), *named.items()):
            more = {"tools": TOOLS, "tool_choice": choice, "max_tokens": 300}
            answer = self.chat(n=8, **more)
            for one in answer.choices:
                self.assertEqual(one.finish_reason, "tool_calls")
                self.assertIsNone(one.message.content)
                self.assertEqual(len(one.message.tool_calls), 1)
                name = self.check_call(one.message.tool_calls[0].function)
                self.assertIn(wanted, ("", name))
            chunks = [chunk.choices[0] for chunk in self.chat(stream=True, **more)]
            calls = [call for chunk in chunks for call in chunk.delta.tool_calls or ()]
            whole = answer.choices[0].message.tool_calls[0].function
            self.assertEqual([(call.function.name, call.function.arguments) for call in calls],
                             [(whole.name, whole.arguments)])
            self.assertEqual((len(calls), calls[0].index, chunks[-1].finish_reason), (1, 0, "tool_calls"))
            self.assertFalse(any(chunk.delta.content for chunk in chunks))
        # The client's own helper puts a stream's pieces together, and reads the arguments.
        with self.client.chat.completions.stream(model=MODEL, messages=[{"role": "user", "content": SECRET}], seed=1,
                                                 tools=TOOLS, tool_choice="required", max_tokens=300) as stream:
            final = stream.get_final_completion().choices[0]
        self.assertEqual(final.finish_reason, "tool_calls")
        self.check_call(final.message.tool_calls[0].function)

    def test_calls_that_cannot_be_made(self):
        bad = json.loads(json.dumps(TOOLS))
        bad[1]["function"]["parameters"]["properties"]["wolves"] = {"type": "integer", "disallow": "null"}
        for field, more in (("tools[1].function.parameters", {"tools": bad, "tool_choice": "required"}),
                            ("tool_choice", {"tool_choice": "required"}),
                            ("tool_choice.function.name", {"tools": TOOLS, "tool_choice": {
                                "type": "function", "function": {"name": "fly"}}})):
            with self.assertRaises(openai.BadRequestError) as caught:
                self.chat(**more)
            self.assertEqual(caught.exception.param, field)
        cut = self.chat(tools=TOOLS, tool_choice="required", max_tokens=3).choices[0]
        self.assertEqual((cut.finish_reason, cut.message.tool_calls), ("length", None))

    def test_functions_as_they_were_before_tools(self):
        functions = [tool["function"] for tool in TOOLS]
        answer = self.chat(functions=functions, function_call={"name": "count"}, max_tokens=200).choices[0]
        self.assertEqual(answer.finish_reason, "function_call")
        self.assertEqual(self.check_call(answer.message.function_call), "count")
        self.assertIsNone(answer.message.tool_calls)
        chunks = [chunk.choices[0] for chunk in self.chat(
            functions=functions, function_call={"name": "count"}, max_tokens=200, stream=True)]
        calls = [chunk.delta.function_call for chunk in chunks if chunk.delta.function_call]
        self.assertEqual([call.arguments for call in calls], [answer.message.function_call.arguments])
        self.assertEqual(chunks[-1].finish_reason, "function_call")
        again = self.client.chat.completions.create(model=MODEL, functions=functions, max_tokens=5, messages=[
            {"role": "user", "content": SECRET}, answer.message.model_dump(),
            {"role": "function", "name": "count", "content": "7"}])
        self.assertTrue(again.choices)

    def test_logprobs_are_as_many_as_tokens(self):
        for more in ({}, {"stop": ["the", ". "]}, {"logit_bias": {"0": 100}},
                     {"n": 3, "stop": ["."], "max_tokens": 60}):
            whole = self.complete(logprobs=1, **more)
            listed = sum(len(choice.logprobs.tokens) for choice in whole.choices)
            self.assertEqual(listed, whole.usage.completion_tokens)
            chat = self.chat(logprobs=True, **more)
            listed = sum(len(choice.logprobs.content) for choice in chat.choices)
            self.assertEqual(listed, chat.usage.completion_tokens)

    def test_more_tokens_than_there_may_be(self):
        for field in ("max_tokens", "max_completion_tokens"):
            for much in (-1, 1_000_000):
                chat = self.chat(**{"max_tokens": None, field: much, "logit_bias": {"0": -100}})
                self.assertEqual(chat.usage.completion_tokens, 500)

    def test_lines_of_a_stream(self):
        text = "a\u2028b\u2029c\x85d"
        raw = self.client.completions.with_raw_response.create(
            model=MODEL, prompt=text, echo=True, max_tokens=1, stream=True)
        body = raw.http_response.read().decode()
        self.assertEqual(len(body.splitlines()), len(body.split("\n")) - 1)
        self.assertTrue(joined(self.complete(prompt=text, echo=True, stream=True)).startswith(text))

    def test_what_cannot_be_honoured(self):
        for field, more in (("top_logprobs", {"top_logprobs": 2}), ("web_search_options", {"web_search_options": {}}),
                            ("modalities[1]", {"modalities": ["text", "audio"]}),
                            ("tools[1].function.name", {"tools": [TOOLS[0], TOOLS[0]]})):
            with self.assertRaises(openai.BadRequestError) as caught:
                self.chat(**more)
            self.assertEqual(caught.exception.param, field)
        with self.assertRaises(openai.BadRequestError) as caught:
            self.complete(best_of=3)
        self.assertEqual(caught.exception.param, "best_of")

    def test_what_means_nothing_here(self):
        self.assertTrue(self.chat(
            user="u", metadata={"k": "v"}, store=False, service_tier="auto", safety_identifier="s",
            prompt_cache_key="p", prediction={"type": "content", "content": "x"}, verbosity="low",
            parallel_tool_calls=True, stop=[""], seed=2**63 - 1, modalities=["text"],
            tools=[{"type": "custom", "custom": {"name": SECRET}}]).choices)

    def test_errors(self):
        for field, more in (("temperature", {"temperature": -1}), ("n", {"n": 1000}),
                            ("prompt", {"prompt": f"{SECRET} " * 3000}), ("max_tokens", {"max_tokens": -2}),
                            ("logit_bias.5", {"logit_bias": {"5": 101}}),
                            ("stop", {"stop": [SECRET * 300]})):
            with self.assertRaises(openai.BadRequestError) as caught:
                self.complete(**more)
            self.assertEqual(caught.exception.param, field)
            self.assertIn(field, str(caught.exception))
        with self.assertRaises(openai.AuthenticationError):
            self.client.with_options(api_key="wrong").models.list()
        with self.assertRaises(openai.NotFoundError):
            self.client.post(f"/{SECRET}", cast_to=object)

    def test_a_full_queue_is_a_rate_limit(self):
        with Server("--max-batch", 1, "--max-queue", 1, "--max-tokens", 1_000_000) as server:
            client = openai.OpenAI(base_url=server.url + "/v1", api_key="none", max_retries=0)
            endless = {"model": MODEL, "prompt": PROMPT, "stream": True, "max_tokens": 1_000_000,
                       "logit_bias": {"0": -100}}
            running = client.completions.create(**endless)
            next(iter(running))  # it has begun
            waiting = client.completions.create(**endless)
            with self.assertRaises(openai.RateLimitError) as caught:
                client.completions.create(**endless)
            self.assertEqual(caught.exception.response.headers["Retry-After"], "1")
            running.close()
            waiting.close()
            # With its usual patience the client gets its answer: both places are free.
            client.with_options(max_retries=5).completions.create(model=MODEL, prompt=PROMPT, max_tokens=2)

    def test_many_streams_at_once_are_as_if_alone(self):
        def wanted(i):
            return {"model": MODEL, "prompt": f"{i} {PROMPT}", "max_tokens": 10 + i, "seed": i}

        async def one(client, i):
            text = ""
            async for chunk in await client.completions.create(**wanted(i), stream=True):
                text += "".join(choice.text for choice in chunk.choices)
            return text

        async def all_at_once():
            async with openai.AsyncOpenAI(base_url=self.server.url + "/v1", api_key=KEY) as client:
                return await asyncio.gather(*(one(client, i) for i in range(32)))

        together = asyncio.run(all_at_once())
        alone = [self.client.completions.create(**wanted(i)).choices[0].text for i in range(32)]
        self.assertEqual(together, alone)

    @classmethod
    def tearDownClass(cls):
        log = cls.server.log
        assert SECRET not in log and KEY not in log, f"what clients sent is in the log: {log}"


if __name__ == "__main__":
    unittest.main()
