import type { charts as en } from '../en/charts';

export const charts: typeof en = {
  asTable: 'Xem dạng bảng',
  when: 'Thời điểm',
  notLoaded: 'Không tải được biểu đồ.',
};
