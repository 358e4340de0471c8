// Return the JSON at a path; an Error with a sentence for people if there is none.
export async function getJson(path, query = {}) {
  const given = Object.entries(query).filter(([, value]) => value !== null && value !== undefined && value !== "");
  const search = given.length ? `?${new URLSearchParams(given)}` : "";
  let response;
  try {
    response = await fetch(path + search);
  } catch {
    throw new Error("The server does not answer: has r1kit watch ended?");
  }
  const body = await response.json().catch(() => null);
  if (!response.ok) throw new Error(body?.error?.message ?? `The server answers with status ${response.status}.`);
  return body;
}

export const ofStage = (number, stage, what) => `api/runs/${number}/stages/${encodeURIComponent(stage)}/${what}`;
