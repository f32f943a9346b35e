"""/v1/responses and states by the official openai client, against the running program with the embedded model."""
import json
import sys
import tempfile
import unittest
from pathlib import Path

try:
    import openai
except ImportError:
    raise unittest.SkipTest("openai is not installed (tools/setup.sh client)")

sys.path.insert(0, str(Path(__file__).resolve().parent))
from server_process import Server  # noqa: E402

MODEL = "goose"


class Responses(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.addCleanup(self.stop)
        self.start()

    def start(self):
        self.server = Server("--name", MODEL, "--state-dir", self.folder.name)
        self.server.__enter__()
        self.client = openai.OpenAI(base_url=self.server.url + "/v1", api_key="none", max_retries=0)

    def stop(self):
        self.client.close()
        self.server.__exit__()

    def respond(self, text="The wolf was hungry.", **more):
        return self.client.responses.create(
            **({"model": MODEL, "input": text, "max_output_tokens": 20, "temperature": 0} | more))

    def test_a_response_is_kept_and_gone_on_from_by_another_server(self):
        first = self.respond("Once upon a time there was a wolf.", metadata={"k": "v"}, instructions="A tale.")
        self.assertEqual(first.status, "incomplete")
        self.assertEqual(first.incomplete_details.reason, "max_output_tokens")
        self.assertEqual(first.usage.output_tokens, 20)
        second = self.respond(previous_response_id=first.id)
        self.assertEqual(second.usage.input_tokens_details.cached_tokens, first.usage.total_tokens)

        self.stop()
        self.start()
        kept = self.client.responses.retrieve(first.id)
        self.assertEqual(kept.output_text, first.output_text)
        self.assertEqual(kept.metadata, {"k": "v"})
        again = self.respond(previous_response_id=first.id)
        self.assertEqual(again.output_text, second.output_text)
        self.assertEqual(again.usage.input_tokens_details.cached_tokens, first.usage.total_tokens)

        self.client.responses.delete(first.id)
        with self.assertRaises(openai.NotFoundError):
            self.client.responses.retrieve(first.id)
        with self.assertRaises(openai.NotFoundError):
            self.respond(previous_response_id=first.id)

    def test_a_stream_has_all_events_in_order(self):
        whole = self.respond()
        events = list(self.respond(stream=True))
        self.assertEqual([event.sequence_number for event in events], list(range(len(events))))
        self.assertEqual(
            [event.type for event in events if event.type != "response.output_text.delta"],
            ["response.created", "response.in_progress", "response.output_item.added",
             "response.content_part.added", "response.output_text.done", "response.content_part.done",
             "response.output_item.done", "response.incomplete"])
        self.assertEqual("".join(e.delta for e in events if e.type == "response.output_text.delta"), whole.output_text)
        self.assertEqual(events[-1].response.output_text, whole.output_text)
        self.assertEqual(events[-1].response.id, events[0].response.id)

    def test_the_clients_own_helpers(self):
        schema = {"type": "object", "properties": {"sure": {"type": "boolean"}}, "required": ["sure"],
                  "additionalProperties": False}
        form = {"format": {"type": "json_schema", "name": "answer", "schema": schema}}
        with self.client.responses.stream(model=MODEL, input="Is it?", text=form) as stream:
            for _ in stream:
                pass
            final = stream.get_final_response()
        self.assertEqual(final.status, "completed")
        self.assertRegex(final.output_text, r'"sure":\s*(true|false)')

    def test_calls_that_must_be_made(self):
        tools = [{"type": "function", "name": name, "parameters": {
            "type": "object", "properties": {key: {"type": "integer", "minimum": 0, "maximum": 99}}, "required": [key],
            "additionalProperties": False}, "strict": True} for name, key in (("hunt", "sheep"), ("sleep", "hours"))]
        keys = {"hunt": "sheep", "sleep": "hours"}
        for choice in ("required", {"type": "function", "name": "sleep"}):
            more = {"tools": tools, "tool_choice": choice, "max_output_tokens": 200}
            first = self.respond(**more)
            self.assertEqual((first.status, [item.type for item in first.output]), ("completed", ["function_call"]))
            call = first.output[0]
            self.assertIn(call.name, keys if choice == "required" else ["sleep"])
            arguments = json.loads(call.arguments)
            self.assertEqual(list(arguments), [keys[call.name]])
            self.assertIn(arguments[keys[call.name]], range(100))
            # The same in events, and put together by the client's helper.
            events = list(self.respond(stream=True, **more))
            self.assertEqual([event.type for event in events], [
                "response.created", "response.in_progress", "response.output_item.added",
                "response.function_call_arguments.delta", "response.function_call_arguments.done",
                "response.output_item.done", "response.completed"])
            with self.client.responses.stream(model=MODEL, input="The wolf was hungry.", temperature=0,
                                              **more) as stream:
                for _ in stream:
                    pass
                final = stream.get_final_response()
            self.assertEqual((final.output[0].name, final.output[0].arguments), (call.name, call.arguments))
            # With what it gave the conversation goes on.
            result = {"type": "function_call_output", "call_id": call.call_id, "output": "It did."}
            second = self.respond([result], previous_response_id=first.id)
            self.assertTrue(second.output_text)
        tools[1]["parameters"]["disallow"] = "null"
        with self.assertRaises(openai.BadRequestError) as caught:
            self.respond(tools=tools, tool_choice="required")
        self.assertEqual(caught.exception.param, "tools[1].parameters")

    def test_fields_come_back_as_they_were_sent(self):
        sent = {"temperature": 0.3, "top_p": 0.9, "truncation": "auto", "parallel_tool_calls": False, "user": "u",
                "safety_identifier": "s", "prompt_cache_key": "p", "max_tool_calls": 3, "service_tier": "auto"}
        answer = self.respond(**sent)
        for name, value in sent.items():
            self.assertEqual(getattr(answer, name), value)
        self.assertEqual(answer.background, False)
        for field, more in (("background", {"background": True}), ("prompt", {"prompt": {"id": "x"}}),
                            ("include[0]", {"extra_body": {"include": ["all"]}})):
            with self.assertRaises(openai.BadRequestError) as caught:
                self.respond(**more)
            self.assertEqual(caught.exception.param, field)

    def test_logprobs(self):
        more = {"include": ["message.output_text.logprobs"], "top_logprobs": 2}
        whole = self.respond(**more)
        entries = whole.output[0].content[0].logprobs
        self.assertEqual(len(entries), whole.usage.output_tokens)
        self.assertEqual("".join(entry.token for entry in entries).strip(), whole.output_text)
        deltas = [entry for event in self.respond(stream=True, **more) if event.type == "response.output_text.delta"
                  for entry in event.logprobs]
        self.assertEqual([entry.token for entry in deltas], [entry.token for entry in entries])

    def test_what_an_agent_sends_beside_its_functions(self):
        """As Codex does; and items by reference, as those do whose responses are stored."""
        tools = [{"type": "local_shell"}, {"type": "web_search"}, {"type": "custom", "name": "patch"},
                 {"type": "function", "name": "hunt", "parameters": {"type": "object", "properties": {}}}]
        first = self.respond("A wolf.", tools=tools, include=["reasoning.encrypted_content"])
        again = self.respond([
            {"role": "user", "content": "A wolf."},
            {"type": "local_shell_call", "id": "x", "call_id": "y", "status": "completed",
             "action": {"type": "exec", "command": ["ls"], "env": {}}},
            {"type": "item_reference", "id": first.output[0].id}, {"role": "user", "content": "More."}], tools=tools)
        in_full = self.respond([{"role": "user", "content": "A wolf."}, first.output[0].model_dump(),
                                {"role": "user", "content": "More."}], tools=tools)
        self.assertEqual(again.output_text, in_full.output_text)
        self.assertIn("tools of type local_shell; they are left out", self.server.log)
        self.assertIn("input items of type local_shell_call; they are left out", self.server.log)
        with self.assertRaises(openai.NotFoundError) as caught:
            self.respond([{"type": "item_reference", "id": "msg_x"}])
        self.assertEqual(caught.exception.param, "input[0].id")

    def test_mistakes(self):
        with self.assertRaisesRegex(openai.BadRequestError, r"input\[0\]\.role"):
            self.respond([{"role": "x", "content": "y"}])
        unstored = self.respond(store=False)
        with self.assertRaises(openai.NotFoundError):
            self.client.responses.retrieve(unstored.id)

    def test_completions_from_a_state(self):
        def complete(tokens, **more):
            return self.client.completions.create(model=MODEL, prompt=None, max_tokens=tokens, temperature=0,
                                                  extra_body=more)
        start = self.client.post("/states", cast_to=object, body={"prompt": "Once upon a time", "name": "start"})
        whole = complete(24, state=start["id"])
        begun = complete(9, state="start", save_state=True)
        rest = complete(15, state=begun.choices[0].model_extra["state"])
        self.assertEqual(begun.choices[0].text + rest.choices[0].text, whole.choices[0].text)
        self.assertEqual(rest.usage.prompt_tokens_details.cached_tokens, 5 + 9)


if __name__ == "__main__":
    unittest.main()
