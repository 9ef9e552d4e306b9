/**
 * Writes `src/api.types.ts` from `docs/reference/openapi.json`: an interface for each schema. `--check` fails where the file is another.
 *
 * Knows what that document has, and says so where there is something else in it.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const SOURCE = fileURLToPath(new URL('../../docs/reference/openapi.json', import.meta.url));
const TARGET = fileURLToPath(new URL('../src/api.types.ts', import.meta.url));
const KNOWN = new Set([
  ...['$ref', 'type', 'properties', 'required', 'description', 'anyOf', 'oneOf', 'items', 'const', 'enum', 'additionalProperties'],
  // What a type cannot tell.
  ...['format', 'minimum', 'maximum', 'minLength', 'maxLength', 'minItems', 'maxItems', 'default', 'pattern', 'title', 'examples'],
]);

/** The text of the file. */
export function write(document) {
  const types = Object.entries(document.components.schemas).map(([name, schema]) => declared(name, schema));
  return [HEAD, ...types].join('\n\n') + '\n';
}

function declared(name, schema) {
  const about = comment(schema.description, '');
  if (schema.properties) return `${about}export interface ${name} ${object(schema, '')}`;
  return `${about}export type ${name} = ${type(schema, '')};`;
}

function object(schema, indent) {
  const required = new Set(schema.required ?? []);
  const inner = `${indent}  `;
  const members = Object.entries(schema.properties).map(([name, member]) => {
    const written = /^[A-Za-z_$][\w$]*$/.test(name) ? name : JSON.stringify(name);
    return `${comment(member.description, inner)}${inner}readonly ${written}${required.has(name) ? '' : '?'}: ${type(member, inner)};`;
  });
  return `{\n${members.join('\n')}\n${indent}}`;
}

function type(schema, indent) {
  if (schema === true) return 'unknown';
  if (schema === false) return 'never';
  for (const word of Object.keys(schema)) if (!KNOWN.has(word)) throw new Error(`no type is known for \`${word}\` in ${JSON.stringify(schema)}`);
  if (schema.$ref) return schema.$ref.split('/').at(-1);
  const either = schema.anyOf ?? schema.oneOf;
  if (either) return union(either.map((one) => type(one, indent)));
  if ('const' in schema) return JSON.stringify(schema.const);
  if (schema.enum) return union(schema.enum.map((value) => JSON.stringify(value)));
  if (Array.isArray(schema.type)) return union(schema.type.map((one) => type({ ...schema, type: one }, indent)));
  switch (schema.type) {
    case 'integer':
    case 'number':
      return 'number';
    case 'string':
    case 'boolean':
    case 'null':
      return schema.type;
    case 'array':
      return `readonly ${wrapped(type(schema.items ?? true, indent))}[]`;
    case 'object':
      if (schema.properties) return object(schema, indent);
      return `Readonly<Record<string, ${type(schema.additionalProperties ?? true, indent)}>>`;
    case undefined:
      return 'unknown';
    default:
      throw new Error(`no type is known for ${JSON.stringify(schema)}`);
  }
}

function union(types) {
  return [...new Set(types)].join(' | ');
}

function wrapped(text) {
  return /[ |]/.test(text) ? `(${text})` : text;
}

function comment(text, indent) {
  return text ? `${indent}/** ${text.replaceAll('*/', '* /').replaceAll('\n', ' ')} */\n` : '';
}

const HEAD = '/** The types of the API: written by `scripts/types.mjs` from docs/reference/openapi.json, never by hand. */';

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const text = write(JSON.parse(readFileSync(SOURCE, 'utf8')));
  if (!process.argv.includes('--check')) {
    writeFileSync(TARGET, text);
  } else if (readFileSync(TARGET, 'utf8') !== text) {
    console.error('src/api.types.ts is not what docs/reference/openapi.json says: `npm run types` writes it anew');
    process.exit(1);
  }
}
