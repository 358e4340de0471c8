// Asks r1kit serve with the openai package for node; prints what it got as JSON. Address, key and seed come from the environment.
import OpenAI from "openai";

const client = new OpenAI({ maxRetries: 0 });
const messages = [{ role: "user", content: "What is 2+3?" }];
const asked = { model: "sprout-base", messages, seed: Number(process.env.SEED), max_tokens: 100 };
const result = { models: [] };

for await (const model of client.models.list()) result.models.push(model.id);

const answer = await client.chat.completions.create({ ...asked, logprobs: true, top_logprobs: 2 });
result.content = answer.choices[0].message.content;
result.reasoning = answer.choices[0].message.reasoning_content;
result.logprobs = answer.choices[0].logprobs.content.length;

result.streamed = "";
const stream = await client.chat.completions.create({ ...asked, stream: true, stream_options: { include_usage: true } });
for await (const chunk of stream) {
  result.streamed += chunk.choices[0]?.delta.content ?? "";
  result.usage = chunk.usage?.completion_tokens;
}

const texts = ({ choices }) => choices.map(({ message }) => message.content);
const { seed, ...open } = { ...asked, n: 2, temperature: 1.5 };
const random = await client.chat.completions.create(open);
result.choices = texts(random);
result.again = texts(await client.chat.completions.create({ ...open, seed: random.seed }));

const schema = { type: "object", properties: { answer: { type: "integer" } }, required: ["answer"], additionalProperties: false };
const response_format = { type: "json_schema", json_schema: { name: "answer", schema, strict: true } };
result.json = (await client.chat.completions.create({ ...asked, response_format })).choices[0].message.content;

try {
  await client.chat.completions.create({ ...asked, temperature: 9 });
} catch (error) {
  result.error = [error.status, error.param];
}
console.log(JSON.stringify(result));
