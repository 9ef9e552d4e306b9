export function write(document: { components: { schemas: object } }): string;
