// Calls a tool with the openai package for node; prints what it got as JSON. The address comes from the environment.
import OpenAI from "openai";

const client = new OpenAI({ maxRetries: 0 });
const parameters = {
  type: "object",
  properties: { city: { enum: ["Paris", "Bogota"] }, days: { type: "integer", maximum: 99 } },
  required: ["city", "days"],
  additionalProperties: false,
};
const tools = [{ type: "function", function: { name: "get_weather", description: "Get the temperature of a city.", parameters } }];
const messages = [{ role: "user", content: "What is the weather like in Paris today?" }];
const tool_choice = { type: "function", function: { name: "get_weather" } };
const asked = { model: "small", messages, tools, tool_choice, seed: 0, max_tokens: 100 };
const result = {};

const first = (await client.chat.completions.create(asked)).choices[0];
result.finish = first.finish_reason;
result.called = first.message.tool_calls[0].function.arguments;

const stream = client.chat.completions.stream(asked); // the package collects the deltas
result.streamed = (await stream.finalChatCompletion()).choices[0].message.tool_calls[0].function.arguments;

messages.push(first.message, { role: "tool", tool_call_id: first.message.tool_calls[0].id, content: "14" });
const { tool_choice: _, ...open } = asked;
result.answer = (await client.chat.completions.create({ ...open, tool_choice: "none", max_tokens: 40 })).choices[0].message.content;

try {
  await client.chat.completions.create({ ...asked, tool_choice: { type: "function", function: { name: "no" } } });
} catch (error) {
  result.error = [error.status, error.param];
}
console.log(JSON.stringify(result));
