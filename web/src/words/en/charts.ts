/** Words of charts. */
export const charts = {
  asTable: 'As a table',
  when: 'When',
  notLoaded: 'The chart could not be loaded.',
};
